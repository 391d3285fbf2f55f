use std::time::{Duration, SystemTime};

use buttress_core::WallClock;
use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

use self::context::Simulation;

use crate::events::Events;

mod assertions;
mod context;
mod load;
mod log;
mod record;
mod report;
mod second;
mod upstream;
mod weather;
mod weather_layer;

pub use self::load::{Load, LoadRun};
pub use self::log::{LogDifference, SimulationLog};
pub use self::report::LoadReport;
pub use self::second::Second;
pub use self::upstream::Upstream;
pub use self::weather::{Condition, Weather};
pub use self::weather_layer::{
    Fail, InjectedFault, PassOn, WeatherFuture, WeatherLayer, WeatherService,
};

/// Runs `program` in virtual time with all chance seeded, and returns its output and the events of
/// the layers.
///
/// The same seed gives the same log, byte for byte:
///
/// - The runtime is a new one, of one thread, with paused time. Virtual time moves on as soon as
///   nothing else can run, so an hour takes moments.
/// - The thread's generator of [`fastrand`](https://docs.rs/fastrand) gets `seed` before `program`
///   makes a layer. So layers without a seed of their own are seeded too.
/// - The [wall clock](WallClock) of the layers starts at 2000-01-01T00:00:00Z and moves with
///   virtual time.
/// - Hash tables of the layers are seeded by the same generator. A hash of an HTTP resource has no
///   seed of the process.
/// - The log holds the events whose target starts with `buttress`, a line each, with the virtual
///   time.
///
/// ```
/// use buttress_testkit::simulate;
/// use std::time::Duration;
///
/// let hour = Duration::from_secs(3600);
/// let (waited, log) = simulate(7, async || {
///     let start = tokio::time::Instant::now();
///     tokio::time::sleep(hour).await;
///     tracing::info!(name: "slept", target: "buttress", "for an hour");
///     start.elapsed()
/// });
/// assert_eq!(waited, hour);
/// assert_eq!(log.as_str(), "3600000.000ms INFO slept message=for an hour\n");
/// ```
///
/// # What is not reproduced
///
/// - `tokio::select!` without `biased` draws from the runtime's own seed, which only an unstable
///   option of tokio sets.
/// - A `HashMap` of std, and a thread of `program`'s own, have an order of their own.
///
/// Another `tracing` subscriber of the process, also a global one, takes nothing from the log: the
/// simulation has a subscriber of its own for its thread. [`Events`] names the one exception.
///
/// # Panics
///
/// - If the thread is already in a runtime. Call it from a `#[test]`, not from a `#[tokio::test]`.
/// - If `program` has not ended after 365 days of virtual time: then it waits for something that
///   never comes.
/// - If `program` panics. The seed and the virtual time are printed too.
#[doc(alias("deterministic simulation", "dst", "seed"))]
pub fn simulate<T>(seed: u64, program: impl AsyncFnOnce() -> T) -> (T, SimulationLog) {
    assert!(
        Handle::try_current().is_err(),
        "`simulate` runs a runtime of its own, and this thread is in one already: call `simulate` \
         from a `#[test]`, not from a `#[tokio::test]`"
    );
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    #[expect(clippy::panic, reason = "a test cannot go on without a runtime")]
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime for `simulate`: {error}"));
    runtime.block_on(async move {
        let _simulation = Simulation::begin(seed);
        let _wall_clock = WallClock::simulate(SystemTime::UNIX_EPOCH + START);
        let events = Events::of("buttress");
        let output = timeout(LONGEST, program()).await;
        let log = SimulationLog::new(seed, events.log());
        #[expect(clippy::panic, reason = "documented")]
        let output = output.unwrap_or_else(|_| {
            panic!("the program waits for something that never comes: 365 days have passed")
        });
        (output, log)
    })
}

/// Runs `program` twice for each seed, and compares the logs.
///
/// ```
/// use buttress_testkit::assert_reproducible;
///
/// assert_reproducible(0..20, async |seed| {
///     tracing::info!(target: "buttress", seed, "began");
/// });
/// ```
///
/// # Panics
///
/// If the two logs of a seed differ: names the seed and the first line that differs. And as
/// [`simulate`] does.
#[track_caller]
pub fn assert_reproducible<T>(
    seeds: impl IntoIterator<Item = u64>,
    program: impl AsyncFn(u64) -> T,
) {
    for seed in seeds {
        let (_, first) = simulate(seed, async || program(seed).await);
        let (_, second) = simulate(seed, async || program(seed).await);
        first.assert_same(&second);
    }
}

/// 2000-01-01T00:00:00Z, since the epoch of Unix.
const START: Duration = Duration::from_secs(946_684_800);

/// Longer than any test, and within the longest timer of tokio (2.2 years).
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

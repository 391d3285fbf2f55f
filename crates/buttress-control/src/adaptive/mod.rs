mod aimd;
mod band;
mod bounds;
mod gradient;
mod gradient2;
mod options;
mod rounds;
mod slack;
mod stats;
mod trend;
mod vegas;

use std::fmt::Debug;
use std::time::Duration;

use crate::Nanos;
use crate::nanos::saturating_nanos;

pub use self::aimd::Aimd;
pub use self::gradient::Gradient;
pub use self::gradient2::Gradient2;
pub use self::slack::Slack;
pub use self::trend::Trend;
pub use self::vegas::Vegas;

/// A law that adapts a concurrency limit to what calls take: the more of them wait inside the service, the
/// lower the limit.
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{Adapt, Nanos, Sample, Vegas};
///
/// let mut law = Vegas::default();
/// let mut now = Duration::ZERO;
/// for _ in 0..1000 {
///     // As many calls as the limit lets in take 10 ms all the same: nobody waits, there is room for more.
///     law.learn(Sample::new(Nanos::from(now), Duration::from_millis(10), law.limit(), false));
///     now += Duration::from_micros(500);
/// }
/// assert!(law.limit() > 20);
/// ```
///
/// # What to pass
///
/// One [`Sample`] for each call that ended and was [near the limit](near_limit) when it was admitted. The time
/// is the service's alone: without what its caller needed to send the request.
///
/// A call whose caller went away took at least as long as it lasted. If that is longer than
/// [`Adapt::unloaded_rtt`], it is a sample that was answered then; otherwise it says nothing. If most callers go away, each
/// is a sample that was dropped, because all go after their own patience, however long the queue. A call that
/// was refused before it reached the service was never admitted.
///
/// # How the laws of this crate measure
///
/// They move at the end of a round, which holds at least 100 calls, and at least twice as many as the limit, so
/// that the last step is seen before the next. A limit that is not half used does not move.
///
/// *Drops.* If more than one call in twenty was dropped, the round ends at once and the limit comes down.
/// What had started before then cannot lower it again. What dropped calls took is not counted.
///
/// *Baseline.* The baseline is the time of a call that waits for no other. To measure it, the law probes: it
/// halves its limit until twice that many calls and a round have ended. The limit keeps no call waiting as long
/// as it was at most twice what the service can work on at once.
///
/// The first probe comes after two full rounds. The next ones come 32, 64 and 128 round trips later, and from then
/// on every 256. For limits below 10 the gap is longer by the factor 10 / limit. While the limit rejects no call,
/// the law does not probe. Probes cost an overloaded service one to three calls in a hundred.
///
/// *Slower services.* If two rounds in a row take at least 1.45 times what rounds usually take, the law probes at
/// once, and does not step. So do the laws for servers if three rounds take 1.2 times what those before took. If half
/// of the limit does not change the time, the queue is not the reason. The law then adopts the new baseline, and its
/// limit grows by a fifth a round up to where the service gets as much done as before. Any other rise is believed by a
/// quarter, and in full when two probes agree. If the limit has halved since the last probe, the law probes too. After
/// drops it adopts no such growth.
///
/// *Clients.* A probe of one client does not empty the queue of the others. So each client counts the time to its
/// next probe from the round in which calls were quickest, and probes early if calls become quicker. Clients that
/// see the same queue come to probe together.
///
/// *Scale.* All of this goes by calls, by shares and by round trips, nothing by the clock: a law behaves in the
/// same way for calls of a millisecond and of a minute.
///
/// # Which law for what
///
/// | law | for | several clients of one service |
/// |---|---|---|
/// | [`Trend`] | clients and servers | hold 1 to 3 times the servers together, tested with ten |
/// | [`Vegas`], [`Gradient`], [`Gradient2`] | servers: one limit for all calls | can climb |
/// | [`Aimd`] | servers; clients if the service sheds or a [`timeout`](crate::Aimd::timeout) bounds its queue | can climb without drops |
///
/// # Sharing
///
/// A law is a value: the caller keeps it under a lock, and the limit beside it in an atomic, for the calls
/// that only ask. [`Adapt::learn`] takes the same few steps for every sample and allocates nothing.
pub trait Adapt: Clone + Debug + Send + 'static {
    /// How many calls may be in flight now: at least 1.
    fn limit(&self) -> u32;

    /// Takes a call that ended into account, and returns the limit from now on.
    fn learn(&mut self, sample: Sample) -> u32;

    /// Returns what a call takes that waits for nobody, if the law knows it and is not just measuring it.
    ///
    /// Default: `None`. Then a call that its caller drops is no sample, unless most callers drop theirs.
    fn unloaded_rtt(&self) -> Option<Duration> {
        None
    }
}

/// Whether so many calls in flight use at least half of the limit.
///
/// Below that the caller, not the limit, decides how many there are, and what the calls take says nothing of
/// what more of them would take. A limit that grew on such samples would end at its maximum with one
/// call at a time.
#[inline]
pub const fn near_limit(in_flight: u32, limit: u32) -> bool {
    in_flight >= limit.div_ceil(2)
}

/// One call that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// When the call was admitted.
    pub started: Nanos,
    /// How long it took from then on.
    pub rtt: Duration,
    /// How many calls were in flight when it was admitted, itself included.
    pub in_flight: u32,
    /// Whether the service shed it, or it ran out of time.
    pub dropped: bool,
}

impl Sample {
    /// A call admitted at `started` as one of `in_flight`, itself included. The call ended after `rtt`, or was
    /// dropped then: shed by the service, or out of time.
    pub const fn new(started: Nanos, rtt: Duration, in_flight: u32, dropped: bool) -> Self {
        Self { started, rtt, in_flight, dropped }
    }

    pub(crate) const fn nanos(&self) -> u64 {
        saturating_nanos(self.rtt)
    }

    pub(crate) const fn ended(&self) -> Nanos {
        Nanos::new(self.started.get().saturating_add(self.nanos()))
    }
}

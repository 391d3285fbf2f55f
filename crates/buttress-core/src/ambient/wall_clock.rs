use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::SystemTime;

use tokio::time::Instant;

/// The wall clock that the layers read, where the date of a header leaves no other way.
///
/// By default this is the clock of the system. A simulation sets a date of its own for its thread,
/// and the clock then moves with tokio's time. So under paused time a `Retry-After` date and an
/// `Age` are the same in each run. `simulate` of `buttress-testkit` sets the clock.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use buttress_core::WallClock;
/// use std::time::{Duration, SystemTime};
///
/// let _simulated = WallClock::simulate(SystemTime::UNIX_EPOCH);
/// tokio::time::sleep(Duration::from_secs(5)).await;
/// assert_eq!(WallClock::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct WallClock {
    date: SystemTime,
    since: Instant,
}

impl WallClock {
    /// Returns the date of the simulation on this thread, or of the system without a simulation.
    ///
    /// A date beyond the range of [`SystemTime`] stays at the date of the start.
    #[inline]
    #[expect(
        clippy::disallowed_methods,
        reason = "a date in a header can be read against nothing else"
    )]
    pub fn now() -> SystemTime {
        SIMULATED.get().map_or_else(SystemTime::now, Self::date)
    }

    /// Sets the wall clock of this thread to `date`, until the guard is dropped. From now on the
    /// clock moves with tokio's time.
    ///
    /// Drop nested guards in reverse order, because each restores the clock that was set before.
    pub fn simulate(date: SystemTime) -> SimulatedWallClock {
        let clock = Self { date, since: Instant::now() };
        SimulatedWallClock { former: SIMULATED.replace(Some(clock)), thread: PhantomData }
    }

    /// Returns whether a simulation has set the clock of this thread.
    ///
    /// Under a simulation, a hash must not use a seed of the process, because two runs of a
    /// simulation may be two processes.
    #[inline]
    pub fn is_simulated() -> bool {
        SIMULATED.get().is_some()
    }

    fn date(self) -> SystemTime {
        self.date.checked_add(self.since.elapsed()).unwrap_or(self.date)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WallClock").field("date", &self.date()).finish()
    }
}

/// Restores the former wall clock of the thread when it is dropped.
#[derive(Debug)]
#[must_use = "the former clock returns once this is dropped"]
pub struct SimulatedWallClock {
    former: Option<WallClock>,
    /// The clock is that of one thread, so the guard stays there.
    thread: PhantomData<*const ()>,
}

impl Drop for SimulatedWallClock {
    fn drop(&mut self) {
        SIMULATED.set(self.former);
    }
}

thread_local! {
    // `const` and without a destructor, as in `deadline.rs`: the cell is usable while a thread
    // ends.
    static SIMULATED: Cell<Option<WallClock>> = const { Cell::new(None) };
}

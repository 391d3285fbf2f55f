use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

/// How long a follower waits for the leader in another process, and when it asks again.
///
/// Correctness rests on the poll timer. A message of the store shortens the wait.
#[derive(Debug)]
pub(super) struct Patience {
    end: Instant,
    poll: Duration,
    /// The shortest time between two trips. Grows with each wait that ends before its poll.
    floor: Duration,
    /// When the lock ends that the follower waits for, as the store said last.
    lock_ends: Option<Instant>,
    /// The last wait ended with a message.
    was_told: bool,
    /// How many flights ended without a value.
    ended: usize,
}

impl Patience {
    pub(super) const fn new(end: Instant) -> Self {
        let (poll, floor) = (FIRST_POLL, FIRST_FLOOR);
        Self { end, poll, floor, lock_ends: None, was_told: false, ended: 0 }
    }

    pub(super) const fn is_first(&self) -> bool {
        self.lock_ends.is_none()
    }

    /// Waits until the store is to be asked again. Returns false if the follower has no more patience:
    /// at the end, or when two flights have ended without a value.
    ///
    /// The lock holds for `left`. `changed` ends when the slot may have changed.
    pub(super) async fn wait(&mut self, left: Duration, changed: impl Future<Output = ()>) -> bool {
        let now = Instant::now();
        let lock_ends = now + left.min(LONGEST_LOCK);
        // After a message, a lock that ends later is the lock of another leader. Without a message it
        // may also be the same lock, renewed.
        let is_other = |before: Instant| lock_ends > before + ROUNDING;
        if self.was_told && self.lock_ends.is_some_and(is_other) {
            self.ended += 1;
        }
        self.lock_ends = Some(lock_ends);
        if self.ended >= MOST_ENDED || now >= self.end {
            return false;
        }
        let soonest = (now + self.floor).min(self.end);
        let pause = self.poll.min(left).max(self.floor);
        let is_early = left < self.poll;
        self.poll = (self.poll * 2).min(LONGEST_POLL);
        self.was_told = timeout_at((now + pause).min(self.end), changed).await.is_ok();
        if self.was_told && Instant::now() < soonest {
            sleep_until(soonest).await;
        }
        if self.was_told || is_early {
            self.floor = (self.floor * 2).min(LONGEST_FLOOR);
        }
        Instant::now() < self.end
    }
}

const FIRST_POLL: Duration = Duration::from_millis(5);
const LONGEST_POLL: Duration = Duration::from_millis(100);
/// For a message, or a lock that has no time left. If they come again and again for nothing, the wait
/// gets longer.
const FIRST_FLOOR: Duration = Duration::from_millis(1);
const LONGEST_FLOOR: Duration = Duration::from_millis(25);
/// Stores tell times in milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);
/// Longer locks count as this long.
const LONGEST_LOCK: Duration = Duration::from_secs(24 * 3600);
/// After so many flights without a value the follower goes alone.
const MOST_ENDED: usize = 2;

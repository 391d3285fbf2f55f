use std::sync::{
    Mutex, PoisonError, TryLockError,
    atomic::{AtomicU32, Ordering},
};

use buttress_control::{Nanos, RetryBudget};

/// Deposits that have no date yet.
///
/// Reading the clock costs more than the rest of a call that succeeds. While calls come in quick
/// succession, the clock is read for every 16th ([`BATCH`]). While calls come slowly, the clock is
/// read for each.
///
/// A deposit is never dated later than it was made. A deposit that waited for others is dated to
/// the time of the previous dating. If that time lies outside the window, the deposit is dropped.
#[derive(Debug)]
pub(crate) struct PendingDeposits {
    /// The deposits since the last dating, plus [`Dated::base`].
    count: AtomicU32,
    dated: Mutex<Dated>,
    ttl: u64,
}

impl PendingDeposits {
    pub(crate) const fn new(ttl: Nanos) -> Self {
        Self {
            count: AtomicU32::new(SLOW),
            dated: Mutex::new(Dated { at: Nanos::new(0), base: SLOW }),
            ttl: ttl.get(),
        }
    }

    /// Adds a deposit. Returns whether the deposits are due to be dated.
    #[inline]
    pub(crate) fn add(&self) -> bool {
        // `Relaxed`: the count orders no other memory, and `settle_deposits` takes it by a swap.
        self.count.fetch_add(1, Ordering::Relaxed) >= SLOW
    }

    /// Dates all deposits. If the latest of them is the caller's, that deposit is dated `now`.
    pub(crate) fn settle_deposits(&self, budget: &RetryBudget, now: Nanos, latest: Latest) {
        // The lock makes the swap of `count` and the change of `base` one step for other settlers.
        // `add` takes no lock. Only arithmetic runs under the lock, so poisoning is ignored.
        let mut dated = match latest {
            Latest::Unknown => self.dated.lock().unwrap_or_else(PoisonError::into_inner),
            Latest::Now => match self.dated.try_lock() {
                Ok(dated) => dated,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Another call is dating. This deposit is dated with the next.
                Err(TryLockError::WouldBlock) => return,
            },
        };
        let count = self.count.swap(0, Ordering::Relaxed).saturating_sub(dated.base);
        let elapsed = now.get().saturating_sub(dated.at.get());
        let fresh = count.min(u32::from(latest == Latest::Now));
        if elapsed <= self.ttl {
            budget.deposit_many(dated.at, count - fresh);
        }
        budget.deposit_many(now, fresh);
        dated.base = self.base(elapsed, count);
        dated.at = dated.at.max(now);
        // Added, not stored: an `add` may have run since the swap above, and must not be lost.
        self.count.fetch_add(dated.base, Ordering::Relaxed);
    }

    /// Returns where the count begins: at zero if, at this pace, a batch fits into a slot of the
    /// budget's window, and otherwise so that the next deposit is due.
    fn base(&self, elapsed: u64, count: u32) -> u32 {
        let slot = u128::from(self.ttl / SLOTS) * u128::from(count.max(1));
        if u128::from(elapsed) * u128::from(BATCH) <= slot { 0 } else { SLOW }
    }
}

#[derive(Debug)]
struct Dated {
    /// The time of the last dating.
    at: Nanos,
    /// The count after the last dating, before further deposits.
    base: u32,
}

/// The date of the latest deposit, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latest {
    Now,
    Unknown,
}

const BATCH: u32 = 16;

/// The count at which the next deposit is due. The count begins here while calls come slowly.
const SLOW: u32 = BATCH - 1;

/// The number of slots into which [`RetryBudget`] divides its window.
const SLOTS: u64 = 31;

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        time::Duration,
    };

    use buttress_control::Ratio;

    use super::*;

    #[test]
    fn deposits_are_dated_although_the_lock_is_poisoned() {
        let ttl = Nanos::from(Duration::from_secs(10));
        let pending = PendingDeposits::new(ttl);
        let budget = RetryBudget::new(Duration::from_secs(10), 0, Ratio::percent(100));
        let poisoned = catch_unwind(AssertUnwindSafe(|| {
            let _dated = pending.dated.lock();
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(poisoned.is_err() && pending.dated.is_poisoned());
        let now = Nanos::from(Duration::from_secs(1));
        assert!(pending.add());
        pending.settle_deposits(&budget, now, Latest::Now);
        assert_eq!(budget.balance(now), 1);
    }
}

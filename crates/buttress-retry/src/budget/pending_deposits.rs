use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use buttress_control::{Nanos, RetryBudget};

/// Deposits that no clock was read for yet.
///
/// Reading the clock costs more than the rest of a call that succeeds. So while calls come fast, it is
/// read for one in [`BATCH`], and while they come slowly, for each. A deposit is never dated later than it
/// was made: one that waited for others counts from when those before it were dated, and not at all if
/// that is longer ago than the window.
#[derive(Debug)]
pub(crate) struct PendingDeposits {
    /// The deposits since the last dating, on top of [`Dated::base`].
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

    /// Adds a deposit. Says whether the deposits are due to be dated.
    #[inline]
    pub(crate) fn add(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) >= SLOW
    }

    /// Dates all deposits, the latest of them `now` if the caller has just made it.
    pub(crate) fn settle_deposits(&self, budget: &RetryBudget, now: Nanos, latest: Latest) {
        // Arithmetic alone runs under the lock, so a poisoned one means nothing.
        let mut dated = match latest {
            Latest::Unknown => self.dated.lock().unwrap_or_else(PoisonError::into_inner),
            // Somebody else is dating: what they leave is dated with the next.
            Latest::Now => match self.dated.try_lock() {
                Ok(dated) => dated,
                Err(_) => return,
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
        self.count.fetch_add(dated.base, Ordering::Relaxed);
    }

    /// Whether the next deposits may wait for one another: at this pace a batch fits into a slot of the
    /// budget's window.
    fn base(&self, elapsed: u64, count: u32) -> u32 {
        let slot = u128::from(self.ttl / SLOTS) * u128::from(count.max(1));
        if u128::from(elapsed) * u128::from(BATCH) <= slot { 0 } else { SLOW }
    }
}

#[derive(Debug)]
struct Dated {
    /// When the deposits were last dated.
    at: Nanos,
    /// Where the count began then.
    base: u32,
}

/// What is known about the latest deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latest {
    Now,
    Unknown,
}

const BATCH: u32 = 16;

/// Where the count begins while calls come slowly: the next deposit is due.
const SLOW: u32 = BATCH - 1;

/// Into so many slots [`RetryBudget`] divides its window.
const SLOTS: u64 = 31;

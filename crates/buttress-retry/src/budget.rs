use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_control::{Nanos, Ratio, RetryBudget, RetryKind, RetryThrottle, TokenBucket};
use tokio::time::Instant;

use crate::Stop;

/// How many retries a layer may make in all, whoever asks for them.
///
/// Clones share one account, so that several layers can draw on the same. The default is 20 % of the
/// calls plus 10 per second, over a window of 10 s.
#[derive(Clone, Debug)]
pub struct Budget {
    account: Arc<Account>,
}

impl Budget {
    /// `ratio` retries for each call plus `per_second`, over a window of 10 s.
    pub fn new(ratio: Ratio, per_second: u32) -> Self {
        Self::over(WINDOW, ratio, per_second)
    }

    /// The same over a window of `ttl`, at least 20 ms.
    pub fn over(ttl: Duration, ratio: Ratio, per_second: u32) -> Self {
        Self::of(Law::Ratio(RetryBudget::new(ttl, per_second, ratio)), ttl)
    }

    /// gRPC's retry throttling (gRFC A6).
    pub fn throttle(throttle: RetryThrottle) -> Self {
        Self::of(Law::Throttle(throttle), WINDOW)
    }

    /// The retry quota of the AWS SDKs.
    pub fn tokens(bucket: TokenBucket) -> Self {
        Self::of(Law::Tokens(bucket), WINDOW)
    }

    /// Every retry is paid for.
    pub fn unlimited() -> Self {
        Self::of(Law::Unlimited, WINDOW)
    }

    /// How many retries could be made now, if that is bounded.
    ///
    /// For [`throttle`](Self::throttle) and [`tokens`](Self::tokens) it is the number of tokens.
    pub fn balance(&self) -> Option<u64> {
        match &self.account.law {
            Law::Ratio(budget) => {
                self.account.date(budget);
                Some(budget.balance(self.account.now()))
            }
            Law::Throttle(throttle) => Some(throttle.balance()),
            Law::Tokens(bucket) => Some(bucket.balance(self.account.now())),
            Law::Unlimited => None,
        }
    }

    fn of(law: Law, ttl: Duration) -> Self {
        Self {
            account: Arc::new(Account {
                law,
                ttl,
                epoch: Instant::now(),
                undated: AtomicU32::new(0),
            }),
        }
    }

    /// A call begins.
    #[inline]
    pub(crate) fn deposit(&self) {
        if let Law::Ratio(budget) = &self.account.law
            && self.account.undated.fetch_add(1, Ordering::Relaxed) + 1 >= BATCH
        {
            self.account.date(budget);
        }
    }

    /// A call succeeded; `first` if without a retry that was paid for. After a retry the quota of AWS gets back
    /// what an error costs.
    #[inline]
    pub(crate) fn succeeded(&self, first: bool) {
        match &self.account.law {
            Law::Throttle(throttle) => throttle.success(),
            Law::Tokens(bucket) if first => bucket.success(),
            Law::Tokens(bucket) => bucket.refund(RetryKind::Error),
            Law::Ratio(_) | Law::Unlimited => {}
        }
    }

    /// An attempt failed in a way that a retry is for.
    pub(crate) fn failed(&self) {
        if let Law::Throttle(throttle) = &self.account.law {
            throttle.failure();
        }
    }

    /// Takes what one retry costs, if it is there.
    pub(crate) fn withdraw(&self, kind: RetryKind) -> Result<Withdrawal, Stop> {
        let paid = match &self.account.law {
            Law::Ratio(budget) => {
                self.account.date(budget);
                budget.withdraw(self.account.now(), 1)
            }
            Law::Throttle(throttle) => throttle.allows(),
            Law::Tokens(bucket) => bucket.withdraw(self.account.now(), kind),
            Law::Unlimited => true,
        };
        if paid {
            Ok(Withdrawal { from: Some((self.clone(), kind, Instant::now())) })
        } else {
            Err(Stop::BudgetEmpty)
        }
    }

    /// Gives back what a retry cost that was not made, or did not reach the service.
    pub(crate) fn refund(&self, kind: RetryKind, since: Instant) {
        match &self.account.law {
            // What the window has forgotten is back already.
            Law::Ratio(_) if since.elapsed() >= self.account.ttl => {}
            Law::Ratio(budget) => budget.refund(self.account.now(), 1),
            Law::Tokens(bucket) => bucket.refund(kind),
            Law::Throttle(_) | Law::Unlimited => {}
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(Law::Ratio(RetryBudget::default()), WINDOW)
    }
}

/// What was paid for a retry that has not begun. Dropped, it goes back.
#[derive(Debug)]
pub(crate) struct Withdrawal {
    from: Option<(Budget, RetryKind, Instant)>,
}

impl Withdrawal {
    /// Of a retry that costs nothing.
    pub(crate) const FREE: Self = Self { from: None };

    /// The retry begins. What it cost, and when.
    pub(crate) fn spend(mut self) -> Option<(RetryKind, Instant)> {
        self.from.take().map(|(_, kind, since)| (kind, since))
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some((budget, kind, since)) = self.from.take() {
            budget.refund(kind, since);
        }
    }
}

#[derive(Debug)]
struct Account {
    law: Law,
    /// How long a withdrawal counts.
    ttl: Duration,
    epoch: Instant,
    /// Deposits that no clock was read for yet.
    undated: AtomicU32,
}

impl Account {
    /// Makes the deposits that are due, as of now.
    #[cold]
    fn date(&self, budget: &RetryBudget) {
        let now = self.now();
        for _ in 0..self.undated.swap(0, Ordering::Relaxed) {
            budget.deposit(now);
        }
    }

    fn now(&self) -> Nanos {
        Nanos::from(Instant::now().saturating_duration_since(self.epoch))
    }
}

#[expect(clippy::large_enum_variant, reason = "one per budget, and always behind its `Arc`")]
#[derive(Debug)]
enum Law {
    Ratio(RetryBudget),
    Throttle(RetryThrottle),
    Tokens(TokenBucket),
    Unlimited,
}

/// A clock is read for one deposit in so many: it costs more than the rest of a call together. So up
/// to 15 deposits may count from a later time than they were made at.
const BATCH: u32 = 16;

const WINDOW: Duration = Duration::from_secs(10);

mod pending_deposits;

use std::{sync::Arc, time::Duration};

use buttress_control::{Nanos, Ratio, RetryBudget, RetryKind, RetryThrottle, TokenBucket};
use buttress_core::{InnerReport, SharedCount};
use tokio::time::Instant;

use self::pending_deposits::{Latest, PendingDeposits};
use crate::StopReason;

/// How many retries a layer may make in all, whoever asks for them.
///
/// Clones share one account, so that several layers can draw on the same. The default is 20 % of the
/// calls plus 10 per second, over a window of 10 s.
///
/// However many layers of a stack share an account, it sees each call of a caller once, and each outcome
/// of the service once: a layer counts a call unless a layer outside counts it or repeats it, and
/// an outcome unless a layer inside has counted it. What a layer knows of the others is ambient
/// ([`SharedCount`]): across a spawned task or a `Buffer`, each side counts for itself. A call that a handler
/// makes on the side is part of the handler's call. Where callers share a flight, each caller's layer
/// outside counts the outcome that its own caller gets.
#[derive(Clone, Debug)]
#[doc(alias("retry budget", "retry throttling"))]
pub struct Budget {
    account: Arc<Account>,
    tally: SharedCount,
}

impl Budget {
    /// `ratio` retries for each call plus `per_second`, over a window of 10 s.
    pub fn new(ratio: Ratio, per_second: u32) -> Self {
        Self::over(WINDOW, ratio, per_second)
    }

    /// The same over a window of `ttl`, at least 20 ms.
    pub fn over(ttl: Duration, ratio: Ratio, per_second: u32) -> Self {
        let ttl = ttl.max(SHORTEST);
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

    /// The same account, for a layer that withdraws only: its calls and successes earn nothing, and its
    /// retries and failures cost what they cost.
    ///
    /// For a layer whose calls are counted already, or must not buy retries for others.
    #[must_use]
    pub fn withdraw_only(&self) -> Self {
        Self { account: Arc::clone(&self.account), tally: self.tally.without_calls() }
    }

    /// How many retries could be made now, if that is bounded.
    ///
    /// For [`throttle`](Self::throttle) and [`tokens`](Self::tokens) it is the number of tokens.
    pub fn balance(&self) -> Option<u64> {
        let now = self.account.now();
        match &self.account.law {
            Law::Ratio(budget) => {
                self.account.pending_deposits.settle_deposits(budget, now, Latest::Unknown);
                Some(budget.balance(now))
            }
            Law::Throttle(throttle) => Some(throttle.balance()),
            Law::Tokens(bucket) => Some(bucket.balance(now)),
            Law::Unlimited => None,
        }
    }

    fn of(law: Law, ttl: Duration) -> Self {
        let pending_deposits = PendingDeposits::new(ttl.into());
        let account = Account { law, epoch: Instant::now(), pending_deposits };
        Self { account: Arc::new(account), tally: SharedCount::new() }
    }

    /// What stands for the account among the layers of a call.
    #[inline]
    pub(crate) const fn tally(&self) -> SharedCount {
        self.tally
    }

    /// A call begins.
    #[inline]
    pub(crate) fn deposit(&self) {
        if let Law::Ratio(budget) = &self.account.law
            && self.tally.is_new_call()
            && self.account.pending_deposits.add()
        {
            self.account.settle_deposits(budget);
        }
    }

    /// A call succeeded, after a retry that cost `paid`. Counted by a layer inside, it earns nothing
    /// here. A retry that succeeds gets back what it cost from the quota of AWS.
    #[inline]
    pub(crate) fn succeeded(&self, paid: Option<Paid>, told: InnerReport) {
        if let Law::Throttle(_) | Law::Tokens(_) = &self.account.law {
            self.earn(paid, told.is_counted());
        }
    }

    #[cold]
    fn earn(&self, paid: Option<Paid>, counted: bool) {
        let is_earning = !counted && self.tally.counts_calls();
        match (&self.account.law, paid) {
            (Law::Throttle(throttle), _) if is_earning => throttle.success(),
            (Law::Tokens(bucket), Some(Paid::Tokens { kind, .. })) => bucket.refund(kind),
            (Law::Tokens(bucket), _) if is_earning && !SharedCount::is_repeated() => {
                bucket.success();
            }
            _ => return,
        }
        self.tally.mark_counted();
    }

    /// An attempt failed in a way that a retry is for, unless a layer inside has `counted` that.
    pub(crate) fn failed(&self, counted: bool) {
        if let Law::Throttle(throttle) = &self.account.law
            && !counted
        {
            throttle.failure();
            self.tally.mark_counted();
        }
    }

    /// Takes what one retry costs, if it is there.
    pub(crate) fn withdraw(&self, kind: RetryKind) -> Result<Withdrawal, StopReason> {
        let paid = match &self.account.law {
            Law::Ratio(budget) => {
                let now = self.account.now();
                self.account.pending_deposits.settle_deposits(budget, now, Latest::Unknown);
                budget.try_withdraw(now, 1).map(Paid::At)
            }
            Law::Throttle(throttle) => throttle.allows().then_some(Paid::Nothing),
            Law::Tokens(bucket) => {
                // Read first: a bucket that becomes full meanwhile may have been without this withdrawal.
                let fills = bucket.fill_count();
                let is_paid = bucket.withdraw(self.account.now(), kind);
                is_paid.then_some(Paid::Tokens { kind, fills })
            }
            Law::Unlimited => Some(Paid::Nothing),
        };
        let paid = paid.ok_or(StopReason::BudgetEmpty)?;
        Ok(Withdrawal::of(self, Some(paid)))
    }

    /// Gives back what was `paid` for a retry that was not made, or did not reach the service.
    pub(crate) fn refund(&self, paid: Paid) {
        match (&self.account.law, paid) {
            (Law::Ratio(budget), Paid::At(taken)) => budget.refund(taken, 1),
            (Law::Tokens(bucket), Paid::Tokens { kind, fills }) if bucket.fill_count() == fills => {
                bucket.refund(kind);
            }
            _ => {}
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
    from: Option<(Budget, Paid)>,
}

impl Withdrawal {
    /// Of a retry that costs nothing.
    pub(crate) const FREE: Self = Self { from: None };

    /// Of what was `paid` from `budget` before.
    pub(crate) fn of(budget: &Budget, paid: Option<Paid>) -> Self {
        Self { from: paid.map(|paid| (budget.clone(), paid)) }
    }

    /// The retry begins. What was paid for it.
    pub(crate) fn spend(mut self) -> Option<Paid> {
        self.from.take().map(|(_, paid)| paid)
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some((budget, paid)) = self.from.take() {
            budget.refund(paid);
        }
    }
}

/// What a retry was paid with, as it has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paid {
    /// A token of the window, from this time.
    At(Nanos),
    /// Tokens of a bucket that has been full so often.
    Tokens { kind: RetryKind, fills: u64 },
    /// A permission.
    Nothing,
}

#[derive(Debug)]
struct Account {
    law: Law,
    epoch: Instant,
    pending_deposits: PendingDeposits,
}

impl Account {
    /// Dates the deposits that are due, the last of them now.
    #[cold]
    fn settle_deposits(&self, budget: &RetryBudget) {
        self.pending_deposits.settle_deposits(budget, self.now(), Latest::Now);
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

const SHORTEST: Duration = Duration::from_millis(20);

const WINDOW: Duration = Duration::from_secs(10);

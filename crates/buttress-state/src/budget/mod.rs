mod account;
mod pending_deposits;

use std::{sync::Arc, time::Duration};

use buttress_control::{Ratio, RetryBudget, RetryKind, RetryThrottle, TokenBucket};
use buttress_core::{InnerReport, SharedCount};

pub use self::account::Paid;
use self::account::{Account, Law, Means};

/// An account that limits the retries of all calls together.
///
/// Clones share the account, so that several layers can draw on it. The default is 20 % of the
/// calls plus 10 per second, over a window of 10 s.
///
/// If several layers of a stack share an account, the account counts each call of a caller once,
/// and each outcome of the service once. A layer counts a call unless an outer layer counts or
/// repeats the call. A layer counts an outcome unless an inner layer has counted the outcome.
///
/// The layers know of each other through an ambient value ([`SharedCount`]):
///
/// - Across a spawned task or a `Buffer`, each side counts for itself.
/// - A call that a handler makes on the side is part of the handler's call.
/// - If callers share a flight, the outer layer of each caller counts the outcome that its caller gets.
#[derive(Clone, Debug)]
#[doc(alias("retry budget", "retry throttling"))]
pub struct Budget {
    account: Arc<Account>,
    tally: SharedCount,
}

impl Budget {
    /// Allows `ratio` retries for each call plus `per_second`, over a window of 10 s.
    pub fn new(ratio: Ratio, per_second: u32) -> Self {
        Self::over(WINDOW, ratio, per_second)
    }

    /// Allows `ratio` retries for each call plus `per_second`, over a window of `ttl`, at least 20
    /// ms.
    pub fn over(ttl: Duration, ratio: Ratio, per_second: u32) -> Self {
        let ttl = ttl.max(SHORTEST);
        Self::of(Law::Ratio(RetryBudget::new(ttl, per_second, ratio)), ttl)
    }

    /// Limits retries by gRPC's retry throttling (gRFC A6).
    pub fn throttle(throttle: RetryThrottle) -> Self {
        Self::of(Law::Throttle(throttle), WINDOW)
    }

    /// Limits retries by the retry quota of the AWS SDKs.
    pub fn tokens(bucket: TokenBucket) -> Self {
        Self::of(Law::Tokens(bucket), WINDOW)
    }

    /// Limits nothing: every retry is paid for.
    pub fn unlimited() -> Self {
        Self::of(Law::Unlimited, WINDOW)
    }

    /// Returns the same account for a layer that withdraws only. The calls and successes of that
    /// layer earn nothing. Its retries and failures cost as usual.
    ///
    /// Use it for a layer whose calls are counted already, or must not earn retries for others.
    #[must_use]
    pub fn withdraw_only(&self) -> Self {
        Self { account: Arc::clone(&self.account), tally: self.tally.without_calls() }
    }

    /// Whether this budget and `other` draw on the same account.
    pub fn shares_account_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.account, &other.account)
    }

    /// Returns the number of retries that could be made now. `None` for an
    /// [`unlimited`](Self::unlimited) budget.
    ///
    /// For [`throttle`](Self::throttle) and [`tokens`](Self::tokens), returns the number of tokens.
    pub fn balance(&self) -> Option<u64> {
        self.account.balance()
    }

    /// Returns the retries that each call earns, for a budget by ratio.
    pub fn ratio(&self) -> Option<Ratio> {
        match &self.account.law {
            Law::Ratio(budget) => Some(budget.ratio()),
            Law::Throttle(_) | Law::Tokens(_) | Law::Unlimited => None,
        }
    }

    fn of(law: Law, ttl: Duration) -> Self {
        Self { account: Arc::new(Account::new(law, ttl)), tally: SharedCount::new() }
    }

    /// Returns the ambient identity of the account among the layers of a call.
    #[inline]
    pub const fn tally(&self) -> SharedCount {
        self.tally
    }

    /// Counts a call that begins, unless an outer layer counts the call.
    ///
    /// Call this before [`SharedCount::run`]. In any other order no call would count.
    #[inline]
    pub fn deposit(&self) {
        // Must run before `SharedCount::run` enters the frame of this layer. Otherwise
        // `is_new_call` would find that frame, and no call would count.
        if let Law::Ratio(budget) = &self.account.law
            && self.tally.is_new_call()
        {
            self.account.deposit(budget);
        }
    }

    /// Counts a success whose last attempt was `paid` for. A success that an inner layer has
    /// counted earns nothing here. The quota of AWS refunds a retry that succeeds.
    #[inline]
    pub fn succeeded(&self, paid: Option<Paid>, report: InnerReport) {
        if let Law::Throttle(_) | Law::Tokens(_) = &self.account.law {
            self.earn(paid, report.is_counted());
        }
    }

    #[cold]
    fn earn(&self, paid: Option<Paid>, counted: bool) {
        let is_earning = !counted && self.tally.counts_calls();
        match (&self.account.law, paid) {
            (Law::Throttle(throttle), _) if is_earning => throttle.success(),
            (Law::Tokens(bucket), Some(Paid(Means::Tokens { kind, .. }))) => bucket.refund(kind),
            (Law::Tokens(bucket), _) if is_earning && !SharedCount::is_repeated() => {
                bucket.success();
            }
            _ => return,
        }
        self.tally.mark_counted();
    }

    /// Counts a failure that may be repeated, unless an inner layer has `counted` the failure.
    #[inline]
    pub fn failed(&self, counted: bool) {
        if let Law::Throttle(throttle) = &self.account.law
            && !counted
        {
            throttle.failure();
            self.tally.mark_counted();
        }
    }

    /// Withdraws the cost of a retry. `None` if the budget cannot pay for the retry.
    pub fn withdraw(&self, kind: RetryKind) -> Option<Withdrawal> {
        let paid = self.account.withdraw(kind)?;
        Some(Withdrawal::of(self, Some(paid)))
    }

    /// Refunds a payment from this budget for a retry that was not made, or did not reach the
    /// service.
    ///
    /// Refund a payment once. A payment from a budget of another kind changes nothing.
    #[inline]
    pub fn refund(&self, paid: Paid) {
        self.account.refund(paid);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(Law::Ratio(RetryBudget::default()), WINDOW)
    }
}

/// The payment for a retry that has not begun. Dropping the withdrawal refunds the payment.
#[derive(Debug)]
pub struct Withdrawal {
    from: Option<(Budget, Paid)>,
}

impl Withdrawal {
    /// The withdrawal for a free retry.
    pub const FREE: Self = Self { from: None };

    /// Returns the withdrawal of a payment that was made from `budget` before.
    #[inline]
    pub fn of(budget: &Budget, paid: Option<Paid>) -> Self {
        Self { from: paid.map(|paid| (budget.clone(), paid)) }
    }

    /// Keeps the payment, because the retry begins, and returns what [`Budget::refund`] needs. Nothing
    /// is refunded from here on, unless by `refund`. `None` for a free retry.
    #[inline]
    pub fn spend(mut self) -> Option<Paid> {
        // Taken, because `drop` runs at the end of this function and would refund the payment.
        self.from.take().map(|(_, paid)| paid)
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        // Runs also if the caller leaves while the retry waits, because the wait owns the payment.
        if let Some((budget, paid)) = self.from.take() {
            budget.refund(paid);
        }
    }
}

const SHORTEST: Duration = Duration::from_millis(20);

const WINDOW: Duration = Duration::from_secs(10);

use std::time::Duration;

use buttress_control::{Nanos, RetryBudget, RetryKind, RetryThrottle, TokenBucket};

use super::pending_deposits::{Latest, PendingDeposits};
use crate::LimitClock;

/// The balance that the clones of a budget share.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) law: Law,
    clock: LimitClock,
    pending_deposits: PendingDeposits,
}

#[expect(clippy::large_enum_variant, reason = "one per budget, and always behind its `Arc`")]
#[derive(Debug)]
pub(super) enum Law {
    Ratio(RetryBudget),
    Throttle(RetryThrottle),
    Tokens(TokenBucket),
    Unlimited,
}

/// A payment for a retry that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid(pub(super) Means);

/// The means of a payment, as a refund needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// A token of the window, taken at this time.
    At(Nanos),
    /// Tokens of a bucket that had been full `fills` times. A later fill has made the payment good.
    Tokens { kind: RetryKind, fills: u64 },
    /// A permission that costs nothing.
    Nothing,
}

impl Account {
    pub(super) fn new(law: Law, ttl: Duration) -> Self {
        let pending_deposits = PendingDeposits::new(ttl.into());
        Self { law, clock: LimitClock::new(), pending_deposits }
    }

    pub(super) fn balance(&self) -> Option<u64> {
        let now = self.clock.now();
        match &self.law {
            Law::Ratio(budget) => {
                self.pending_deposits.settle_deposits(budget, now, Latest::Unknown);
                Some(budget.balance(now))
            }
            Law::Throttle(throttle) => Some(throttle.balance()),
            Law::Tokens(bucket) => Some(bucket.balance(now)),
            Law::Unlimited => None,
        }
    }

    /// Counts a call in `budget`, which is that of this account.
    #[inline]
    pub(super) fn deposit(&self, budget: &RetryBudget) {
        if self.pending_deposits.add() {
            self.settle_deposits(budget);
        }
    }

    /// Dates the pending deposits, the latest of them now.
    #[cold]
    fn settle_deposits(&self, budget: &RetryBudget) {
        self.pending_deposits.settle_deposits(budget, self.clock.now(), Latest::Now);
    }

    pub(super) fn withdraw(&self, kind: RetryKind) -> Option<Paid> {
        let means = match &self.law {
            Law::Ratio(budget) => {
                let now = self.clock.now();
                // The pending deposits come first, because calls without a date earn retries too.
                self.pending_deposits.settle_deposits(budget, now, Latest::Unknown);
                budget.try_withdraw(now, 1).map(Means::At)
            }
            Law::Throttle(throttle) => throttle.allows().then_some(Means::Nothing),
            Law::Tokens(bucket) => {
                // Must be read before the withdrawal: a fill between the two only prevents a
                // refund. Read later, a fill that made the payment good would go unseen, and a
                // refund would add tokens.
                let fills = bucket.fill_count();
                let is_paid = bucket.withdraw(self.clock.now(), kind);
                is_paid.then_some(Means::Tokens { kind, fills })
            }
            Law::Unlimited => Some(Means::Nothing),
        };
        means.map(Paid)
    }

    pub(super) fn refund(&self, paid: Paid) {
        match (&self.law, paid.0) {
            (Law::Ratio(budget), Means::At(taken)) => budget.refund(taken, 1),
            // A fill between the look and the refund goes unseen. The refund then adds the cost of
            // a single retry, and never exceeds the capacity.
            (Law::Tokens(bucket), Means::Tokens { kind, fills })
                if bucket.fill_count() == fills =>
            {
                bucket.refund(kind);
            }
            _ => {}
        }
    }
}

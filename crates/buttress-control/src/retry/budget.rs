use std::time::Duration;

use crate::numbers::nanos::saturating_nanos;
use crate::numbers::ratio::MILLION;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{Mutex, lock};
use crate::window::{Amounts, MIN_WINDOW, Ticks, WindowCounts};
use crate::{Nanos, Ratio};

/// Limits the retries of all calls together to a share of the calls, plus a floor for times of few
/// calls.
///
/// At any time, the withdrawals of the last `ttl` are at most `ratio` tokens for each deposit
/// within it, plus the reserve `floor_per_second · ttl`. This is the law of [Finagle's
/// `RetryBudget`][finagle].
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{Nanos, Ratio, RetryBudget};
///
/// let budget = RetryBudget::new(Duration::from_secs(10), 0, Ratio::percent(20));
/// let now = Nanos::new(0);
/// for _ in 0..9 {
///     budget.deposit(now); // nine calls are 1.8 tokens
/// }
/// assert!(budget.withdraw(now, 1));
/// assert!(!budget.withdraw(now, 1));
/// ```
///
/// # Time
///
/// The window moves in 32 steps. A deposit and a withdrawal count for at least `ttl`, by the newest
/// time that any call gave, and for at most a thirtieth longer. The work per call is the same after
/// any idle time. A time before the latest time that a withdrawal saw counts as that latest time.
/// So a step back makes no tokens, and a step of less than `ttl` loses none.
///
/// A refunded withdrawal counts as never made. The tokens return to the slot from which they were
/// taken. If the window has dropped that slot, no tokens return.
///
/// # Sharing
///
/// A deposit takes no lock: it is a single compare-and-swap, and nothing at all at a ratio of 0.
/// Withdrawals exclude one another while the deposits are summed. So no token is granted twice, and
/// no available token is refused.
///
/// # Bounds
///
/// A `ttl` under 20 ms counts as 20 ms. The reserve is at most 10^12 tokens. A slot (a 31st of the
/// `ttl`) counts at most 16,777,215 deposits. Further deposits are ignored, and cost a load each.
///
/// # Defaults
///
/// `RetryBudget::default()` has a `ttl` of 10 s, a floor of 10 per second and a ratio of 20 %.
///
/// [finagle]: https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/service/RetryBudget.scala
#[derive(Debug)]
pub struct RetryBudget {
    ticks: Ticks,
    /// The value of a deposit, in millionths of a token, as is the reserve.
    ratio: u64,
    reserve: u64,
    /// The latest slot that a withdrawal saw. Written under the lock.
    latest: AtomicU64,
    deposits: WindowCounts,
    withdrawals: Mutex<Withdrawn>,
}

impl RetryBudget {
    /// Creates a budget of `ratio` tokens for each call of the last `ttl`, plus `floor_per_second ·
    /// ttl`.
    pub fn new(ttl: Duration, floor_per_second: u32, ratio: Ratio) -> Self {
        let ttl = ttl.max(MIN_WINDOW);
        let reserve = u128::from(floor_per_second) * u128::from(saturating_nanos(ttl)) / 1000;
        Self {
            ticks: Ticks::covering(ttl),
            ratio: u64::from(ratio.parts_per_million()),
            reserve: u64::try_from(reserve).unwrap_or(MAX_RESERVE).min(MAX_RESERVE),
            latest: AtomicU64::new(0),
            deposits: WindowCounts::new(),
            withdrawals: Mutex::new(Withdrawn {
                amounts: Amounts::new(),
                latest: Nanos::default(),
            }),
        }
    }

    /// Returns the tokens that a call earns.
    pub fn ratio(&self) -> Ratio {
        Ratio::per_million(u32::try_from(self.ratio).unwrap_or(u32::MAX))
    }

    /// Counts a call, before or after the call. Do not count retries.
    #[inline]
    pub fn deposit(&self, now: Nanos) {
        self.deposit_many(now, 1);
    }

    /// Counts several calls at once.
    #[inline]
    pub fn deposit_many(&self, now: Nanos, calls: u32) {
        if self.ratio > 0 && calls > 0 {
            // Relaxed: a stale slot only places the deposit as a slower clock would.
            let tick = self.ticks.at(now).max(self.latest.load(Relaxed));
            self.deposits.add_many(tick, u64::from(calls));
        }
    }

    /// Takes `cost` tokens for a retry if all of them are available. Otherwise takes none.
    pub fn withdraw(&self, now: Nanos, cost: u32) -> bool {
        self.try_withdraw(now, cost).is_some()
    }

    /// Takes `cost` tokens as [`withdraw`](Self::withdraw) does, and returns the time from which
    /// the withdrawal counts. A [`refund`](Self::refund) needs this time.
    ///
    /// The time is `now`, or the latest time that a withdrawal has seen, if that is later.
    pub fn try_withdraw(&self, now: Nanos, cost: u32) -> Option<Nanos> {
        let cost = tokens(cost);
        self.settle(now, |withdrawn, credit| {
            let granted = withdrawn.amounts.total() + cost <= credit;
            granted.then(|| {
                withdrawn.amounts.add(cost);
                withdrawn.latest
            })
        })
    }

    /// Gives back the tokens of a retry that was not made. `taken` is the time from which the
    /// withdrawal counts.
    ///
    /// Tokens that have expired since, or were not withdrawn at that time, do not come back.
    pub fn refund(&self, taken: Nanos, cost: u32) {
        lock(&self.withdrawals).amounts.remove(self.ticks.at(taken), tokens(cost));
    }

    /// Returns the number of whole tokens that can be withdrawn.
    pub fn balance(&self, now: Nanos) -> u64 {
        self.settle(now, |withdrawn, credit| credit.saturating_sub(withdrawn.amounts.total()))
            / u64::from(MILLION)
    }

    /// Calls `decide` under the lock, with the withdrawals and the credit of the window that ends
    /// now.
    fn settle<T>(&self, now: Nanos, decide: impl FnOnce(&mut Withdrawn, u64) -> T) -> T {
        let mut withdrawn = lock(&self.withdrawals);
        withdrawn.latest = withdrawn.latest.max(now);
        let latest = self.ticks.at(withdrawn.latest);
        withdrawn.amounts.advance(latest);
        self.latest.store(latest, Relaxed);
        // Neither overflows: a window counts less than 2^29 deposits, of at most 10^9 millionths
        // each.
        let credit = self.reserve + self.deposits.sum(latest) * self.ratio;
        decide(&mut withdrawn, credit)
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(Duration::from_secs(10), 10, Ratio::percent(20))
    }
}

#[derive(Debug)]
struct Withdrawn {
    amounts: Amounts,
    /// The latest time that a withdrawal saw.
    latest: Nanos,
}

#[inline]
fn tokens(cost: u32) -> u64 {
    u64::from(cost) * u64::from(MILLION)
}

const MAX_RESERVE: u64 = 1_000_000_000_000 * MILLION as u64;

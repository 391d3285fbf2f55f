use crate::Nanos;
use crate::numbers::ratio::MILLION;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{Mutex, lock};

/// The retry quota of the AWS SDKs: a bucket of tokens that retries empty and first-try successes
/// fill.
///
/// The law of [smithy-rs][smithy]'s `TokenBucket`.
///
/// ```
/// use buttress_control::{Nanos, RetryKind, TokenBucket};
///
/// let bucket = TokenBucket::new(20);
/// let now = Nanos::new(0);
/// assert!(bucket.withdraw(now, RetryKind::Timeout)); // costs 10
/// assert!(bucket.withdraw(now, RetryKind::Error)); // costs 5
/// bucket.refund(RetryKind::Error); // that retry succeeded
/// bucket.success(); // another call, at the first try
/// assert_eq!(bucket.balance(now), 11);
/// ```
///
/// # Sharing
///
/// A single atomic. While the bucket is full, a success only reads the atomic. Only a bucket that
/// refills with time takes a lock, in [`TokenBucket::withdraw`] and [`TokenBucket::balance`].
///
/// # Defaults
///
/// `TokenBucket::default()` holds 500 tokens. A retry costs 5, after a timeout 10. A success earns
/// 1. There is no refill with time.
///
/// [smithy]: https://github.com/smithy-lang/smithy-rs/blob/main/rust-runtime/aws-smithy-runtime/src/client/retries/token_bucket.rs
#[derive(Debug)]
pub struct TokenBucket {
    /// In millionths of a token, as are the others.
    tokens: AtomicU64,
    /// The number of times the bucket has become full.
    fills: AtomicU64,
    capacity: u64,
    error_cost: u64,
    timeout_cost: u64,
    reward: u64,
    refill_per_second: u64,
    refilled: Mutex<Refilled>,
}

impl TokenBucket {
    /// Creates a full bucket of this many tokens.
    pub fn new(capacity: u32) -> Self {
        Self {
            tokens: AtomicU64::new(tokens(capacity)),
            fills: AtomicU64::new(0),
            capacity: tokens(capacity),
            error_cost: tokens(5),
            timeout_cost: tokens(10),
            reward: tokens(1),
            refill_per_second: 0,
            refilled: Mutex::new(Refilled { at: 0, remainder: 0 }),
        }
    }

    /// Sets the cost of a retry after an error, and after a timeout, in tokens. Default: 5 and 10.
    pub fn costs(mut self, error: u32, timeout: u32) -> Self {
        self.error_cost = tokens(error);
        self.timeout_cost = tokens(timeout);
        self
    }

    /// Sets the reward of [`TokenBucket::success`], in tokens. Default: 1. A negative or non-finite
    /// reward counts as 0.
    pub fn reward(mut self, tokens: f64) -> Self {
        self.reward = millionths(tokens);
        self
    }

    /// Sets the refill per second, in tokens. Default: 0. A negative or non-finite rate counts as
    /// 0.
    pub fn refill_per_second(mut self, tokens: f64) -> Self {
        self.refill_per_second = millionths(tokens);
        self
    }

    /// Takes the cost of a retry of this kind if all its tokens are there. Otherwise takes none.
    pub fn withdraw(&self, now: Nanos, kind: RetryKind) -> bool {
        self.refill(now);
        let cost = self.cost(kind);
        let mut tokens = self.tokens.load(Relaxed);
        while let Some(rest) = tokens.checked_sub(cost) {
            match self.tokens.compare_exchange_weak(tokens, rest, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(seen) => tokens = seen,
            }
        }
        false
    }

    /// Returns the number of times the bucket has become full.
    ///
    /// If the bucket has become full since a withdrawal, the withdrawal is made good: the tokens
    /// would be there without it too. A retry that was not made must then not be refunded.
    /// Otherwise it would be paid twice.
    pub fn fill_count(&self) -> u64 {
        self.fills.load(Relaxed)
    }

    /// Gives back the cost of a retry of this kind that succeeded, or was not made.
    pub fn refund(&self, kind: RetryKind) {
        self.add(self.cost(kind));
    }

    /// Counts a call that succeeded at its first try.
    #[inline]
    pub fn success(&self) {
        self.add(self.reward);
    }

    /// Returns the number of whole tokens.
    pub fn balance(&self, now: Nanos) -> u64 {
        self.refill(now);
        self.tokens.load(Relaxed) / u64::from(MILLION)
    }

    const fn cost(&self, kind: RetryKind) -> u64 {
        match kind {
            RetryKind::Error => self.error_cost,
            RetryKind::Timeout => self.timeout_cost,
        }
    }

    #[inline]
    fn add(&self, amount: u64) {
        let mut tokens = self.tokens.load(Relaxed);
        while tokens < self.capacity {
            let next = tokens.saturating_add(amount).min(self.capacity);
            match self.tokens.compare_exchange_weak(tokens, next, Relaxed, Relaxed) {
                Ok(_) => {
                    if next == self.capacity {
                        self.fills.fetch_add(1, Relaxed);
                    }
                    return;
                }
                Err(seen) => tokens = seen,
            }
        }
    }

    /// Adds under the lock, so that the next call finds both the time and the tokens advanced.
    fn refill(&self, now: Nanos) {
        if self.refill_per_second > 0 {
            let mut refilled = lock(&self.refilled);
            self.add(refilled.advance(now, self.refill_per_second));
        }
    }
}

impl Default for TokenBucket {
    fn default() -> Self {
        Self::new(500)
    }
}

/// The reason of a retry, which decides its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryKind {
    /// The server answered with an error.
    Error,
    /// There was no answer in time.
    Timeout,
}

/// The time up to which tokens have been earned.
#[derive(Debug)]
struct Refilled {
    at: u64,
    /// The rest below a millionth: in millionths of a token times nanoseconds per second.
    remainder: u64,
}

impl Refilled {
    /// The millionths earned since the last time. An earlier time earns nothing.
    fn advance(&mut self, now: Nanos, per_second: u64) -> u64 {
        let elapsed = now.get().saturating_sub(self.at);
        self.at += elapsed;
        let earned = u128::from(elapsed) * u128::from(per_second) + u128::from(self.remainder);
        self.remainder = u64::try_from(earned % NANOS_PER_SECOND).unwrap_or(0);
        u64::try_from(earned / NANOS_PER_SECOND).unwrap_or(u64::MAX)
    }
}

fn tokens(whole: u32) -> u64 {
    u64::from(whole) * u64::from(MILLION)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and takes NaN and what is below zero to zero"
)]
fn millionths(tokens: f64) -> u64 {
    if tokens.is_finite() { (tokens * f64::from(MILLION)).round() as u64 } else { 0 }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

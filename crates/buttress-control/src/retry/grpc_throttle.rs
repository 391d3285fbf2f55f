use crate::Ratio;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// gRPC's retry throttle: a failure costs a token, and a success returns a part of a token. While
/// half of the tokens or fewer are left, no call is retried.
///
/// The law of [gRPC proposal A6][a6], "Throttling Retry Attempts and Hedged RPCs".
///
/// ```
/// use buttress_control::{Ratio, RetryThrottle};
///
/// let throttle = RetryThrottle::new(4, Ratio::percent(50));
/// throttle.failure();
/// assert!(throttle.allows()); // 3 of 4
/// throttle.failure();
/// assert!(!throttle.allows()); // 2 of 4
/// throttle.success();
/// assert!(throttle.allows()); // 2.5 of 4
/// ```
///
/// # What to count
///
/// A failure is an outcome with a retryable status, or with a pushback that forbids a retry. A
/// success is an OK. Every other outcome (such as `INVALID_ARGUMENT`, or a transparent retry) is
/// neither.
///
/// # Sharing
///
/// A single atomic. While all tokens are there, a success only reads the atomic.
///
/// [a6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs
#[derive(Debug)]
pub struct RetryThrottle {
    /// In thousandths of a token, as are the others.
    tokens: AtomicU64,
    max: u64,
    ratio: u64,
}

impl RetryThrottle {
    /// Creates a throttle with `max_tokens` tokens, all of them there at first. A success earns
    /// `token_ratio` of a token.
    ///
    /// Three decimals of the ratio count, as in A6. With no tokens at all, no retry is ever
    /// allowed.
    pub fn new(max_tokens: u32, token_ratio: Ratio) -> Self {
        let max = u64::from(max_tokens) * TOKEN;
        Self {
            tokens: AtomicU64::new(max),
            max,
            ratio: u64::from(token_ratio.parts_per_million()) / 1000,
        }
    }

    /// Counts a success.
    #[inline]
    pub fn success(&self) {
        let mut tokens = self.tokens.load(Relaxed);
        while tokens < self.max {
            let next = (tokens + self.ratio).min(self.max);
            match self.tokens.compare_exchange_weak(tokens, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(seen) => tokens = seen,
            }
        }
    }

    /// Counts a failure.
    #[inline]
    pub fn failure(&self) {
        let mut tokens = self.tokens.load(Relaxed);
        while tokens > 0 {
            let next = tokens.saturating_sub(TOKEN);
            match self.tokens.compare_exchange_weak(tokens, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(seen) => tokens = seen,
            }
        }
    }

    /// Returns whether a failed call may be retried now: more than half of the tokens are there.
    ///
    /// Count the failure first.
    #[inline]
    pub fn allows(&self) -> bool {
        self.tokens.load(Relaxed) > self.max / 2
    }

    /// Returns the number of whole tokens.
    pub fn balance(&self) -> u64 {
        self.tokens.load(Relaxed) / TOKEN
    }
}

const TOKEN: u64 = 1000;

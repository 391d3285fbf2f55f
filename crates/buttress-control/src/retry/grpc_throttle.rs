use crate::Ratio;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// gRPC's retry throttle: failures cost a token, successes return a part of one, and retries stop while
/// half of the tokens or fewer are left.
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
/// A failure is an outcome with a status that would be retried, or with a pushback that forbids it; a
/// success is an OK. Everything else (`INVALID_ARGUMENT`, say, or a transparent retry) is neither.
///
/// # Sharing
///
/// One atomic. A success while all tokens are there only reads it.
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
    /// A throttle of so many tokens, all there at first, that earns `token_ratio` of one per success.
    ///
    /// Three decimals of the ratio count, as A6 has it. With no tokens at all it never allows a retry.
    pub fn new(max_tokens: u32, token_ratio: Ratio) -> Self {
        let max = u64::from(max_tokens) * TOKEN;
        Self {
            tokens: AtomicU64::new(max),
            max,
            ratio: u64::from(token_ratio.parts_per_million()) / 1000,
        }
    }

    /// Counts an answer that is a success.
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

    /// Counts an answer that is a failure.
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

    /// Whether a failed call may be retried now: more than half of the tokens are there.
    ///
    /// Count the failure first.
    #[inline]
    pub fn allows(&self) -> bool {
        self.tokens.load(Relaxed) > self.max / 2
    }

    /// The whole tokens that are there.
    pub fn balance(&self) -> u64 {
        self.tokens.load(Relaxed) / TOKEN
    }
}

const TOKEN: u64 = 1000;

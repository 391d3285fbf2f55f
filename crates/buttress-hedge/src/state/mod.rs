use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use buttress_control::{Latencies, Ratio};
use buttress_core::{Deadline, Timers};
use buttress_state::LimitClock;
use tokio::time::Instant;

use crate::{WithheldCounts, WithheldReason};

/// The time that a call waits before a hedge is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HedgeDelay {
    Fixed(Duration),
    /// This quantile of the latency, and at least this long.
    Learned(Ratio, Duration),
}

/// The counters, timers and latencies that services share.
///
/// Each counter stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug)]
pub(crate) struct HedgeState {
    delay: HedgeDelay,
    pub(crate) timers: Timers,
    clock: LimitClock,
    latencies: Option<Latencies>,
    pub(crate) calls: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) won: AtomicU64,
    pub(crate) refused: AtomicU64,
    withheld: [AtomicU64; WithheldReason::COUNT],
}

impl HedgeState {
    pub(crate) fn new(delay: HedgeDelay) -> Self {
        let latencies = match delay {
            HedgeDelay::Fixed(_) => None,
            HedgeDelay::Learned(quantile, _) => Some(Latencies::new(quantile)),
        };
        Self {
            delay,
            timers: Timers::default(),
            clock: LimitClock::new(),
            latencies,
            calls: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            won: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            withheld: Default::default(),
        }
    }

    /// The same without counts and latencies.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.delay)
    }

    /// Returns the delay before a hedge. `None` if no hedge is due: the latency is not known yet, or
    /// is beyond the histogram.
    #[inline]
    pub(crate) fn delay(&self) -> Option<Duration> {
        let delay = match self.delay {
            HedgeDelay::Fixed(delay) => delay,
            HedgeDelay::Learned(_, least) => self.latencies.as_ref()?.quantile()?.max(least),
        };
        (delay < Deadline::NEVER).then_some(delay)
    }

    /// Counts a call that passes through.
    #[inline]
    pub(crate) fn note_call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    /// Counts a call. Returns how its latency is measured, and whether a hedge can be due, as
    /// [`delay`](Self::delay) says later.
    #[inline]
    pub(crate) fn begin_call(&self) -> (CallClock, bool) {
        let call = self.calls.fetch_add(1, Relaxed);
        match (&self.delay, &self.latencies) {
            (HedgeDelay::Learned(_, least), Some(latencies)) => {
                // In nanoseconds, because a `Duration` would cost a division.
                let quantile = latencies.quantile_nanos();
                // Until a quantile is known, each call is a sample. Otherwise a quiet service would
                // wait for 400 calls.
                let is_sample = is_sampled(call) || quantile.is_none();
                let can_hedge =
                    quantile.is_some_and(|nanos| nanos < BEYOND) && *least < Deadline::NEVER;
                (CallClock { since: Some(Instant::now()), is_sample }, can_hedge)
            }
            (HedgeDelay::Fixed(delay) | HedgeDelay::Learned(_, delay), _) => {
                (CallClock::default(), *delay < Deadline::NEVER)
            }
        }
    }

    /// Records the latency of a call as the first try shows it.
    #[cold]
    pub(crate) fn learn(&self, clock: CallClock) {
        if let (Some(latencies), Some(since)) = (&self.latencies, clock.since) {
            let now = Instant::now();
            latencies.record(self.clock.at(now), now.saturating_duration_since(since));
        }
    }

    pub(crate) fn note_withheld(&self, reason: WithheldReason) {
        if let Some(count) = self.withheld.get(reason.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn withheld(&self) -> WithheldCounts {
        let counts = WithheldReason::ALL.iter().zip(&self.withheld);
        counts.map(|(reason, count)| (*reason, count.load(Relaxed))).collect()
    }
}

/// The start of a call, from which its delay counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallClock {
    /// The time of `call` if the delay is learned. Otherwise that of the first pending poll.
    pub(crate) since: Option<Instant>,
    /// Whether the latency of the call is recorded.
    pub(crate) is_sample: bool,
}

/// Whether the call of this number is a sample, which one call in eight is.
///
/// Not every eighth: calls often come in a fixed order, and the samples would all be of the same kind.
/// The multiples of the golden ratio are spread evenly, and so are those of any arithmetic sequence
/// of calls (Knuth, The Art of Computer Programming, vol. 3, section 6.4).
#[inline]
const fn is_sampled(call: u64) -> bool {
    call.wrapping_mul(GOLDEN_RATIO) >> 61 == 0
}

/// 2^64 over the golden ratio.
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
/// The latency in nanoseconds from which on no hedge is due: thirty years.
#[expect(clippy::cast_possible_truncation, reason = "thirty years are less than 584")]
const BEYOND: u64 = Deadline::NEVER.as_nanos() as u64;

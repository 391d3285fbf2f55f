mod rule;

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use buttress_control::Latencies;
use buttress_core::Timers;
use buttress_state::LimitClock;
use tokio::time::Instant;

pub use self::rule::HedgeRule;
use self::rule::{Delay, LiveSettings, NEVER};
use crate::{WithheldCounts, WithheldReason};

/// The live settings, counters, timers and latencies that services share.
///
/// Each counter stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug)]
pub(crate) struct HedgeState {
    live: LiveSettings,
    pub(crate) timers: Timers,
    clock: LimitClock,
    /// Made when the delay is first learned.
    latencies: OnceLock<Latencies>,
    pub(crate) calls: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) won: AtomicU64,
    pub(crate) refused: AtomicU64,
    withheld: [AtomicU64; WithheldReason::COUNT],
}

impl HedgeState {
    pub(crate) fn new(rule: HedgeRule, at_most: u32) -> Self {
        let rule = rule.kept();
        let latencies = OnceLock::new();
        if let HedgeRule::At(quantile, _) = rule {
            latencies.get_or_init(|| Latencies::new(quantile));
        }
        Self {
            live: LiveSettings::new(Delay::of(rule), at_most),
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
        Self::new(self.rule(), self.at_most())
    }

    pub(crate) fn rule(&self) -> HedgeRule {
        let delay = self.live.delay();
        let least = Duration::from_nanos(delay.nanos());
        match self.learned(delay) {
            Some(latencies) => HedgeRule::At(latencies.share(), least),
            None => HedgeRule::After(least),
        }
    }

    pub(crate) fn set_rule(&self, rule: HedgeRule) {
        let rule = rule.kept();
        if let HedgeRule::At(quantile, _) = rule {
            // Before the delay, so that a call which sees the delay sees its quantile.
            self.latencies.get_or_init(|| Latencies::new(quantile)).set_share(quantile);
        }
        self.live.set_delay(Delay::of(rule));
    }

    #[inline]
    pub(crate) fn at_most(&self) -> u32 {
        self.live.at_most()
    }

    pub(crate) fn set_at_most(&self, hedges: u32) {
        self.live.set_at_most(hedges);
    }

    /// Returns the latencies if this `delay` is learned from them.
    #[inline]
    fn learned(&self, delay: Delay) -> Option<&Latencies> {
        if delay.is_learned() { self.latencies.get() } else { None }
    }

    /// Returns the delay before a hedge. `None` if no hedge is due: the latency is not known yet, or
    /// is beyond the histogram.
    #[inline]
    pub(crate) fn delay(&self) -> Option<Duration> {
        let delay = self.live.delay();
        let nanos = match self.learned(delay) {
            Some(latencies) => latencies.quantile_nanos()?.max(delay.nanos()),
            None => delay.nanos(),
        };
        (nanos < NEVER).then(|| Duration::from_nanos(nanos))
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
        let delay = self.live.delay();
        let Some(latencies) = self.learned(delay) else {
            return (CallClock::default(), !delay.is_never());
        };
        let quantile = latencies.quantile_nanos();
        // Until a quantile is known, each call is a sample. Otherwise a quiet service would wait for
        // 400 calls.
        let is_sample = is_sampled(call) || quantile.is_none();
        let can_hedge = quantile.is_some_and(|nanos| nanos < NEVER) && !delay.is_never();
        (CallClock { since: Some(Instant::now()), is_sample }, can_hedge)
    }

    /// Records the latency of a call as the first try shows it.
    #[cold]
    pub(crate) fn learn(&self, clock: CallClock) {
        if let (Some(latencies), Some(since)) = (self.latencies.get(), clock.since) {
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

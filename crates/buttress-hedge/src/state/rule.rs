use std::{
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use buttress_control::Ratio;
use buttress_core::{CachePadded, Deadline};

/// When a hedge is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HedgeRule {
    /// After a fixed delay, as [`HedgeLayer::after`](crate::HedgeLayer::after) sets.
    After(Duration),
    /// After this quantile of the observed latency, and at least this long, as
    /// [`HedgeLayer::at`](crate::HedgeLayer::at) sets.
    At(Ratio, Duration),
}

impl HedgeRule {
    /// Returns the shortest delay that the rule allows.
    pub const fn least(self) -> Duration {
        match self {
            Self::After(delay) | Self::At(_, delay) => delay,
        }
    }

    /// The rule as it is kept: a quantile of 0 is a fixed delay, and none is above 100 %.
    pub(super) fn kept(self) -> Self {
        match self {
            Self::At(Ratio::ZERO, least) => Self::After(least),
            Self::At(quantile, least) => Self::At(quantile.min(Ratio::percent(100)), least),
            Self::After(_) => self,
        }
    }
}

/// The settings of a layer that handles change while calls run.
// Padded, because every call reads them.
#[derive(Debug)]
pub(crate) struct LiveSettings(CachePadded<Packed>);

#[derive(Debug)]
struct Packed {
    /// The fixed or the least delay in nanoseconds, and in the lowest bit whether the delay is
    /// learned. A single value, so that no call takes a fixed delay for the least of a quantile.
    delay: AtomicU64,
    at_most: AtomicU32,
}

impl LiveSettings {
    pub(super) fn new(delay: Delay, at_most: u32) -> Self {
        let (delay, at_most) = (AtomicU64::new(delay.0), AtomicU32::new(at_most.min(MOST_HEDGES)));
        Self(CachePadded::new(Packed { delay, at_most }))
    }

    #[inline]
    pub(super) fn delay(&self) -> Delay {
        // Acquire: pairs with `set_delay`, so that a learned delay finds its histogram.
        Delay(self.0.delay.load(Acquire))
    }

    pub(super) fn set_delay(&self, delay: Delay) {
        self.0.delay.store(delay.0, Release);
    }

    #[inline]
    pub(super) fn at_most(&self) -> u32 {
        self.0.at_most.load(Relaxed)
    }

    pub(super) fn set_at_most(&self, hedges: u32) {
        self.0.at_most.store(hedges.min(MOST_HEDGES), Relaxed);
    }
}

/// The delay of a [`HedgeRule`], as [`LiveSettings`] packs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delay(u64);

impl Delay {
    pub(super) fn of(rule: HedgeRule) -> Self {
        let nanos = u64::try_from(rule.least().as_nanos()).unwrap_or(u64::MAX).min(LONGEST);
        Self(nanos << 1 | u64::from(matches!(rule, HedgeRule::At(..))))
    }

    #[inline]
    pub(crate) const fn is_learned(self) -> bool {
        self.0 & 1 == 1
    }

    /// Returns the fixed or the least delay.
    #[inline]
    pub(crate) const fn nanos(self) -> u64 {
        self.0 >> 1
    }

    /// Whether no hedge is ever due after this delay.
    #[inline]
    pub(crate) const fn is_never(self) -> bool {
        self.nanos() >= NEVER
    }
}

/// The most hedges of a call, because each poll of a call polls all of its tries.
const MOST_HEDGES: u32 = 100;

/// The longest delay that is kept: 292 years.
const LONGEST: u64 = u64::MAX >> 1;

/// The delay in nanoseconds from which on no hedge is due: thirty years.
#[expect(clippy::cast_possible_truncation, reason = "thirty years are less than 584")]
pub(crate) const NEVER: u64 = Deadline::NEVER.as_nanos() as u64;

use std::time::Duration;

use crate::numbers::nanos::saturating_nanos;
use crate::numbers::ratio::MILLION;
use crate::window::{MIN_WINDOW, WINDOW_SLOTS};
use crate::{Backoff, Jitter, Ratio};

/// When a [`Circuit`](super::Circuit) opens, for how long, and how it closes again.
///
/// # Defaults
///
/// | option | default |
/// |---|---|
/// | `failures` | 50 % of at least 20 calls |
/// | `consecutive` | 5 |
/// | `slow` | off |
/// | `window` | 10 s |
/// | `open_for` | `Backoff::exponential(1 s, 10 s)` with equal jitter |
/// | `probes` | 5, of which 3 must succeed |
/// | `ramp` | stages of 1 s that admit 10 %, 25 % and 50 % |
/// | `probe_patience` | 30 s |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CircuitRules {
    pub(super) failure_ratio: Ratio,
    pub(super) minimum: u32,
    pub(super) consecutive: u32,
    pub(super) slow: Option<SlowRule>,
    window: Duration,
    pub(super) open_for: Backoff,
    pub(super) probes: u32,
    pub(super) needed: u32,
    pub(super) stage: Duration,
    shares: [Ratio; MAX_STAGES],
    pub(super) probe_patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlowRule {
    pub(super) limit: Duration,
    pub(super) ratio: Ratio,
}

impl CircuitRules {
    /// The default rules.
    pub fn new() -> Self {
        let rules = Self {
            failure_ratio: Ratio::percent(50),
            minimum: 20,
            consecutive: 5,
            slow: None,
            window: Duration::from_secs(10),
            open_for: Backoff::exponential(Duration::from_secs(1), Duration::from_secs(10))
                .jitter(Jitter::Equal),
            probes: 5,
            needed: 3,
            stage: Duration::ZERO,
            shares: [Ratio::ZERO; MAX_STAGES],
            probe_patience: Duration::from_secs(30),
        };
        rules.ramp(Duration::from_secs(1), &[10, 25, 50].map(Ratio::percent))
    }

    /// Opens the circuit if at least `minimum` calls are in the window and this share of them failed.
    ///
    /// A minimum of 0 counts as 1. With a ratio of 0, any failure opens the circuit once the window holds the
    /// minimum. A ratio above 100 % turns the rule off.
    pub const fn failures(mut self, ratio: Ratio, minimum: u32) -> Self {
        self.failure_ratio = ratio;
        self.minimum = if minimum == 0 { 1 } else { minimum };
        self
    }

    /// Opens the circuit after this many failures in a row, while the window holds fewer calls than the
    /// minimum of [`failures`](Self::failures), or if that rule is off. 0 counts as 1.
    ///
    /// Where the window holds more, the run must be as long as the minimum: five failures in a row are
    /// chance in a busy network that loses a quarter of its calls.
    pub const fn consecutive(mut self, failures: u32) -> Self {
        self.consecutive = if failures == 0 { 1 } else { failures };
        self
    }

    /// Opens the circuit if at least the minimum of calls is in the window and this share of them took
    /// longer than `limit`, failed or not. A ratio above 100 % turns the rule off.
    pub fn slow(mut self, limit: Duration, ratio: Ratio) -> Self {
        self.slow = (ratio <= WHOLE).then_some(SlowRule { limit, ratio });
        self
    }

    /// Sets the time after which an outcome is forgotten, to within a thirty-second of it. At least 20 ms.
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets how long the circuit stays open. The delay rises at each opening in a row, and begins anew
    /// once the circuit has closed. A delay of zero admits probes at once.
    pub const fn open_for(mut self, open_for: Backoff) -> Self {
        self.open_for = open_for;
        self
    }

    /// Sets how many calls decide a half-open circuit, and how many of them must succeed.
    ///
    /// 0 probes count as 1. `needed` counts as the nearest number from 1 to `probes`.
    pub fn probes(mut self, probes: u32, needed: u32) -> Self {
        self.probes = probes.clamp(1, MAX_PROBES);
        self.needed = needed.clamp(1, self.probes);
        self
    }

    /// Sets the stages of the ramp that follows the probes: how long each is, and the shares of the calls
    /// that they admit, at most eight. A share of 0 ends the ramp there, and no shares mean no ramp.
    pub fn ramp(mut self, stage: Duration, shares: &[Ratio]) -> Self {
        self.stage = stage;
        self.shares = [Ratio::ZERO; MAX_STAGES];
        for (share, given) in self.shares.iter_mut().zip(shares) {
            *share = *given;
        }
        self
    }

    /// Sets the time after which a probe without an outcome counts as a failure. Zero counts as 1 ms.
    pub fn probe_patience(mut self, patience: Duration) -> Self {
        self.probe_patience = patience.max(Duration::from_millis(1));
        self
    }

    /// Returns the time after which an outcome is forgotten. At least 20 ms.
    pub fn window_length(&self) -> Duration {
        self.window.max(MIN_WINDOW)
    }

    /// Returns the numbers, for a view of the rules or for a file.
    pub fn numbers(&self) -> CircuitNumbers {
        let shares = (0..).map_while(|stage| self.share(stage)).collect();
        CircuitNumbers {
            failure_ratio: self.failure_ratio,
            minimum: self.minimum,
            consecutive: self.consecutive,
            slow: self.slow.map(|slow| (slow.limit, slow.ratio)),
            window: self.window,
            open_for: self.open_for,
            probes: self.probes,
            needed: self.needed,
            stage: self.stage,
            shares,
            probe_patience: self.probe_patience,
        }
    }

    /// The share that the stage of this number admits, or `None` if the ramp has ended there.
    pub(super) fn share(&self, stage: u64) -> Option<Ratio> {
        let stage = usize::try_from(stage).ok()?;
        self.shares.get(stage).copied().filter(|share| *share > Ratio::ZERO)
    }

    pub(super) fn has_ramp(&self) -> bool {
        !self.stage.is_zero() && self.share(0).is_some()
    }

    /// The length of a slot of the window, in nanoseconds.
    pub(super) fn slot(&self) -> u64 {
        saturating_nanos(self.window.max(MIN_WINDOW)) / WINDOW_SLOTS
    }

    /// Which rule opens a circuit with these numbers, if any does.
    pub(super) fn tripped(&self, counts: Counts, run: u32) -> Option<Rule> {
        let is_judged = counts.calls >= u64::from(self.minimum);
        let is_ratio_on = self.failure_ratio <= WHOLE;
        if is_ratio_on && is_judged && reaches(counts.failures, counts.calls, self.failure_ratio) {
            return Some(Rule::Failures);
        }
        let is_run = run >= self.consecutive && (!is_judged || !is_ratio_on);
        if is_run || run >= self.minimum.max(self.consecutive) {
            return Some(Rule::Consecutive);
        }
        let is_slow = |slow: &SlowRule| reaches(counts.slow, counts.calls, slow.ratio);
        (is_judged && self.slow.as_ref().is_some_and(is_slow)).then_some(Rule::Slow)
    }
}

impl Default for CircuitRules {
    fn default() -> Self {
        Self::new()
    }
}

/// The numbers of [`CircuitRules`]. The options of the rules define the fields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CircuitNumbers {
    /// The ratio of [`CircuitRules::failures`].
    pub failure_ratio: Ratio,
    /// The minimum of [`CircuitRules::failures`].
    pub minimum: u32,
    /// [`CircuitRules::consecutive`].
    pub consecutive: u32,
    /// The limit and the ratio of [`CircuitRules::slow`], if the rule is on.
    pub slow: Option<(Duration, Ratio)>,
    /// [`CircuitRules::window`].
    pub window: Duration,
    /// [`CircuitRules::open_for`].
    pub open_for: Backoff,
    /// The probes of [`CircuitRules::probes`].
    pub probes: u32,
    /// The needed successes of [`CircuitRules::probes`].
    pub needed: u32,
    /// The length of a stage of [`CircuitRules::ramp`].
    pub stage: Duration,
    /// The shares of [`CircuitRules::ramp`], at most eight.
    pub shares: Vec<Ratio>,
    /// [`CircuitRules::probe_patience`].
    pub probe_patience: Duration,
}

/// A rule of a closed circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Failures,
    Consecutive,
    Slow,
}

/// The numbers of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) slow: u64,
}

/// Whether `part` is at least this share of `whole`, in whole numbers. Nothing never is, whatever the share.
fn reaches(part: u64, whole: u64, ratio: Ratio) -> bool {
    part > 0
        && u128::from(part) * u128::from(MILLION)
            >= u128::from(whole) * u128::from(ratio.parts_per_million())
}

const WHOLE: Ratio = Ratio::percent(100);
const MAX_STAGES: usize = 8;
/// The places of a half-open circuit: more would be no probe.
const MAX_PROBES: u32 = 1 << 16;

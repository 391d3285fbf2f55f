use std::time::Duration;

use crate::Nanos;
use crate::numbers::nanos::saturating_nanos;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use crate::sync::{Mutex, lock};

use self::outcomes::Outcomes;
use self::phase::Phase;
use self::rules::Counts;
use self::word::CircuitWord;

mod admit;
mod by_hand;
mod change;
mod host;
mod outcomes;
mod phase;
mod probes;
mod rules;
mod settle;
mod turn;
mod word;

pub use self::change::{CircuitChange, CircuitReason};
pub use self::host::{CircuitCounts, CircuitHost, CircuitOpen, CircuitOutcome};
pub use self::rules::{CircuitNumbers, CircuitRules};
pub use self::word::{CircuitPass, CircuitState};

/// The law of a circuit breaker: admits calls while their service is well, and rejects them while not.
///
/// A closed circuit counts the outcomes of a sliding window and opens by its [`CircuitRules`]. An open
/// circuit rejects calls for an interval. After that a fixed number of probes decide, and a ramp admits a
/// growing share of the calls before the circuit closes.
///
/// A call asks with [`admit`](Self::admit) and reports with [`settle`](Self::settle), exactly once for each
/// [`CircuitPass`].
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{
///     Circuit, CircuitHost, CircuitOutcome, CircuitRules, CircuitState, Nanos, Ratio,
/// };
///
/// struct At(u64);
/// impl CircuitHost for At {
///     fn now(&self) -> Nanos { Nanos::from(Duration::from_millis(self.0)) }
///     fn draw(&self) -> f64 { 0.5 }
/// }
///
/// let circuit = Circuit::new(CircuitRules::new().failures(Ratio::percent(50), 4));
/// for _ in 0..4 {
///     let pass = circuit.admit(false, &At(0)).unwrap().unwrap();
///     circuit.settle(pass, CircuitOutcome::Failure, false, &At(0));
/// }
/// assert_eq!(circuit.state(), CircuitState::Open);
/// assert!(circuit.admit(false, &At(100)).is_err());
/// assert!(circuit.admit(false, &At(1000)).unwrap().unwrap().is_probe());
/// ```
///
/// # Generations
///
/// Every change of state but that from ramp to closed begins a generation. An outcome of an older generation
/// changes nothing: a call that began before the trip says nothing about the service after it.
///
/// # Precision
///
/// The window is exact to a thirty-second. While at least sixteen calls fall into one slot, successes are
/// recorded in batches of sixteen, and up to fifteen of them may be dated one slot late. Before a failure
/// decides, all successes before it are recorded. The arithmetic uses whole numbers, so a decision does not
/// depend on how the outcomes are spread over the window.
///
/// # Cost
///
/// A call through a closed circuit loads one word. A success changes the word by one compare-and-swap and
/// reads no clock. Failures, every sixteenth success, and the calls of a circuit that is not closed take a
/// lock, except rejections by an open circuit.
///
/// # Sources
///
/// The rule by ratio and minimum is that of [Polly] and [resilience4j], the run below the minimum that of
/// [linkerd], the interval that grows with each opening that of [gRFC A50], and the ramp that of Envoy's
/// [slow start].
///
/// [Polly]: https://www.pollydocs.org/strategies/circuit-breaker.html
/// [resilience4j]: https://resilience4j.readme.io/docs/circuitbreaker
/// [linkerd]: https://linkerd.io/2/reference/circuit-breaking/
/// [gRFC A50]: https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md
/// [slow start]: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start
#[derive(Debug)]
#[doc(alias("circuit breaker"))]
pub struct Circuit {
    /// Changed under the lock, but for the undated successes.
    word: AtomicU64,
    /// The end of the interval of an open circuit, in nanoseconds. Written before the word that says open.
    open_until: AtomicU64,
    /// The limit of a slow call in nanoseconds, `u64::MAX` if the rule is off.
    slow_limit: AtomicU64,
    core: Mutex<CircuitCore>,
}

/// The state of a circuit that is not in its word.
#[derive(Debug)]
struct CircuitCore {
    rules: CircuitRules,
    outcomes: Outcomes,
    phase: Phase,
    isolations: usize,
    opened: u64,
}

impl Circuit {
    /// A closed circuit with these rules.
    pub fn new(rules: CircuitRules) -> Self {
        Self {
            word: AtomicU64::new(CircuitWord::new(1, CircuitState::Closed).0),
            open_until: AtomicU64::new(0),
            slow_limit: AtomicU64::new(slow_limit(&rules)),
            core: Mutex::new(CircuitCore {
                rules,
                outcomes: Outcomes::new(rules.slot()),
                phase: Phase::default(),
                isolations: 0,
                opened: 0,
            }),
        }
    }

    /// Asks for a call. `is_spare` is a call beside another one, which only a closed circuit admits.
    ///
    /// `Ok(None)` admits a call. Its outcome is not recorded.
    ///
    /// # Errors
    /// [`CircuitOpen`] if the call must not be made.
    #[inline]
    pub fn admit(
        &self,
        is_spare: bool,
        host: &impl CircuitHost,
    ) -> Result<Option<CircuitPass>, CircuitOpen> {
        match self.admit_if_closed() {
            Some(pass) => Ok(Some(pass)),
            None => self.admit_unless_open(is_spare, host),
        }
    }

    /// Admits a call if the circuit is closed. Otherwise [`admit`](Self::admit) decides.
    ///
    /// Needs neither the time nor to know whether the call is spare.
    #[inline]
    pub fn admit_if_closed(&self) -> Option<CircuitPass> {
        // Acquire: pairs with the release in `turn`, so that the outcomes of this generation are recorded
        // after the change that began it.
        let word = CircuitWord(self.word.load(Acquire));
        word.is_closed().then(|| word.pass(0))
    }

    /// The time above which a call is slow, if that is a rule.
    #[inline]
    pub fn slow_limit(&self) -> Option<Duration> {
        let limit = self.slow_limit.load(Relaxed);
        (limit != u64::MAX).then(|| Duration::from_nanos(limit))
    }

    /// Whether a call that took from `start` to `now` is slow. `false` if no rule says so.
    #[inline]
    pub fn is_slow(&self, start: Nanos, now: Nanos) -> bool {
        // No rule is a limit of `u64::MAX`, which no call exceeds.
        now.get().saturating_sub(start.get()) > self.slow_limit.load(Relaxed)
    }

    /// The state now. An interval or a ramp that has ended shows with the next call.
    pub fn state(&self) -> CircuitState {
        CircuitWord(self.word.load(Acquire)).state()
    }

    /// The numbers of the window that ends now.
    pub fn counts(&self, now: Nanos) -> CircuitCounts {
        let mut core = lock(&self.core);
        self.date_successes(&mut core, now);
        let Counts { calls, failures, slow } = core.outcomes.counts(now);
        CircuitCounts { calls, failures, slow }
    }

    /// Returns how often the circuit has opened.
    pub fn opened(&self) -> u64 {
        lock(&self.core).opened
    }

    /// The rules.
    pub fn rules(&self) -> CircuitRules {
        lock(&self.core).rules
    }

    /// Replaces the rules. A running interval ends when it would have ended. If the length of the window
    /// changes, the window begins empty.
    pub fn set_rules(&self, rules: CircuitRules) {
        let mut core = lock(&self.core);
        if core.rules.slot() != rules.slot() {
            core.outcomes = Outcomes::new(rules.slot());
            self.forget_undated();
        }
        core.rules = rules;
        self.slow_limit.store(slow_limit(&rules), Relaxed);
    }

    /// Whether the circuit holds nothing that a new one would not: it is closed with an empty window, or
    /// its interval ended longer ago than the longest interval, and no call was recorded for a window.
    ///
    /// A circuit that recovers must have ended its ramp too. Its probes must have lapsed.
    pub fn is_fresh(&self, now: Nanos) -> bool {
        let mut core = lock(&self.core);
        self.date_successes(&mut core, now);
        let is_long_ago = || {
            let longest = saturating_nanos(core.rules.open_for.max());
            now.get() >= self.open_until.load(Relaxed).saturating_add(longest)
        };
        let is_over = match self.state() {
            CircuitState::Open => return is_long_ago(),
            CircuitState::Closed => true,
            CircuitState::HalfOpen | CircuitState::Ramp => {
                is_long_ago() && core.phase.is_over(&core.rules, now)
            }
            _ => false,
        };
        is_over && core.outcomes.counts(now) == Counts::default()
    }
}

fn slow_limit(rules: &CircuitRules) -> u64 {
    rules.slow.map_or(u64::MAX, |slow| saturating_nanos(slow.limit))
}

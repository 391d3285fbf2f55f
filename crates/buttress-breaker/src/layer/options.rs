use std::{borrow::Cow, hash::Hash, sync::Arc, time::Duration};

use buttress_control::{Backoff, Random, Ratio};
use buttress_core::{Enforcement, StateScope};

use super::BreakerLayer;
use crate::circuits::{Circuits, KeyedCircuits};

/// The rules of the circuit. Each of these options returns a layer with fresh state.
impl<M, C: Circuits, J> BreakerLayer<M, C, J> {
    /// Opens the circuit if at least `minimum` calls are in the window and this share of them
    /// failed. Default: 50 % of at least 20 calls.
    ///
    /// A minimum of 0 counts as 1. With a ratio of 0, any failure opens the circuit once the window
    /// holds the minimum. A ratio above 100 % turns the rule off.
    #[doc(alias("failure rate threshold", "minimum throughput"))]
    pub fn failures(self, ratio: Ratio, minimum: u32) -> Self {
        self.with_rules(|rules| rules.failures(ratio, minimum))
    }

    /// Opens the circuit after this many failures in a row, while the window holds fewer calls than
    /// the minimum of [`failures`](Self::failures), or if that rule is off. Default: 5. 0 counts
    /// as 1.
    ///
    /// Where the window holds more calls, the run must be as long as the minimum: five failures in
    /// a row are chance in a busy network that loses a quarter of its calls.
    pub fn consecutive(self, failures: u32) -> Self {
        self.with_rules(|rules| rules.consecutive(failures))
    }

    /// Opens the circuit if at least the minimum of calls is in the window and this share of them
    /// took longer than `limit` to their response head, failed or not. Default: off. A ratio above
    /// 100 % turns the rule off.
    ///
    /// A slow probe is a failure. Costs two clock reads per call.
    #[doc(alias("slow call rate threshold"))]
    pub fn slow(self, limit: Duration, ratio: Ratio) -> Self {
        self.with_rules(|rules| rules.slow(limit, ratio))
    }

    /// Sets the time after which an outcome is forgotten, to within a thirty-second of it. Default:
    /// 10 s. A window under 20 ms counts as 20 ms.
    #[doc(alias("sampling duration", "sliding window"))]
    pub fn window(self, window: Duration) -> Self {
        self.with_rules(|rules| rules.window(window))
    }

    /// Sets how long the circuit stays open. Default: exponential from 1 s to 10 s with equal
    /// jitter.
    ///
    /// The interval grows at each opening in a row, and begins anew once a ramp has ended well. An
    /// interval of zero makes the circuit half-open at once.
    #[doc(alias("break duration", "reset timeout", "sleep window"))]
    pub fn open_for(self, open_for: Backoff) -> Self {
        self.with_rules(|rules| rules.open_for(open_for))
    }

    /// Sets how many calls decide a half-open circuit, and how many of them must succeed. Default:
    /// 3 of 5, which lets a network that loses a quarter of its calls recover.
    ///
    /// 0 probes count as 1. `needed` counts as the nearest number from 1 to `probes`.
    #[doc(alias("half-open", "trial calls"))]
    pub fn probes(self, probes: u32, needed: u32) -> Self {
        self.with_rules(|rules| rules.probes(probes, needed))
    }

    /// Sets the stages of the ramp that follows the probes: how long each is, and the shares of the
    /// calls that they admit. Default: stages of 1 s that admit 10 %, 25 % and 50 %.
    ///
    /// Up to eight stages count. A share of 0 ends the ramp there, and no shares mean no ramp.
    #[doc(alias("slow start", "gradual recovery"))]
    pub fn ramp(self, stage: Duration, shares: &[Ratio]) -> Self {
        self.with_rules(|rules| rules.ramp(stage, shares))
    }

    /// Sets the time after which a probe without an outcome counts as a failure. Default: 30 s.
    /// Zero counts as 1 ms.
    ///
    /// The outcome of the probe is ignored from then on. So a probe that never ends cannot keep the
    /// circuit half-open.
    pub fn probe_patience(self, patience: Duration) -> Self {
        self.with_rules(|rules| rules.probe_patience(patience))
    }
}

impl<M, K: Hash + Eq, F: Clone, J> BreakerLayer<M, KeyedCircuits<K, F>, J> {
    /// Sets the maximum number of keys in use, approximately, because each shard of the table has
    /// its part of the maximum. All further keys share a circuit. Default: 65,536. 0: all keys share
    /// a circuit.
    ///
    /// Returns a layer with fresh state.
    pub fn max_keys(self, max: usize) -> Self {
        Self { circuits: self.circuits.with_max_keys(max), ..self }
    }
}

/// The options that are not rules of the circuit.
impl<M, C: Circuits, J> BreakerLayer<M, C, J> {
    /// Judges a call without an answer by the time that the service had: a failure after `patience`
    /// or longer, and neutral before. Default: off.
    ///
    /// The option applies to a call that ran out of time, here or further in, and to a call that its
    /// caller drops, with or without a deadline. So a caller with a deadline of 1 ms cannot open the
    /// circuit for others. A foreign timeout that drops calls, such as tower's, becomes visible.
    /// Keep `patience` below the timeout of an attempt. Otherwise no attempt that times out is a
    /// failure. Zero: every call without an answer is a failure.
    ///
    /// Costs a clock read per call, and one more per success.
    pub fn patience(self, patience: Duration) -> Self {
        self.with(|settings| settings.patience = Some(patience))
    }

    /// Counts and reports rejections, but rejects no call. Default: off.
    ///
    /// The circuit opens and recovers as usual. A call that passes in place of its rejection is not
    /// recorded.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Gives each service of this layer a circuit of its own, for example for each endpoint of a
    /// balancer. Default: all services share the circuit.
    ///
    /// The clones of a service share its circuit. [`Breaker::handle`](crate::Breaker::handle) reads
    /// and controls it. The layer's own handle then has the circuit of no service. The random
    /// generator stays shared.
    ///
    /// Do not use this option with axum, which applies a layer once per route or request.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Sets the name of this instance in rejections and events. Default: `"breaker"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Makes intervals and ramp repeatable: the same seed and the same order of calls give the same
    /// decisions. Default: a random seed.
    ///
    /// Returns a layer with a generator of its own. Clones and services made before keep the old
    /// one.
    pub fn seed(self, seed: u64) -> Self {
        self.with(|settings| settings.random = Arc::new(Random::seeded(seed)))
    }
}

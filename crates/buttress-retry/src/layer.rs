use std::{borrow::Cow, sync::Arc, time::Duration};

use buttress_control::{Backoff, Random};
use buttress_core::{Bind, By, ByMode, Enforcement, Plain, SharedSettings, StateScope};
use tower_layer::Layer;

use crate::{
    Budget, Retry, RetryHandle,
    attempt_time::LateAttempts,
    settings::{OpenCircuits, Settings},
};

/// Repeats failed calls.
///
/// Clones of a layer and all its services share the attempts, the backoff, the budget, the counters,
/// the learned times and the random generator, except under [`per_service`](Self::per_service). No
/// option changes a clone made before.
#[derive(Clone, Debug)]
#[doc(alias("retries", "repeat"))]
pub struct RetryLayer<M = Plain, J = ByMode> {
    settings: Arc<SharedSettings<Settings>>,
    mode: M,
    judge: J,
}

impl RetryLayer {
    /// Creates a layer that makes up to `attempts` attempts, the first included.
    ///
    /// Zero and 1 make a single attempt, even if the request was never processed. Otherwise a free
    /// attempt does not count.
    pub fn new(attempts: u32) -> Self {
        let settings = Arc::new(SharedSettings::new(Settings::new(attempts)));
        Self { settings, mode: Plain, judge: ByMode }
    }
}

impl<M, J> RetryLayer<M, J> {
    /// Sets the wait before each attempt after the first. Default: exponential from 1 s to 10 s
    /// with full jitter.
    ///
    /// Returns a layer with fresh counters and learned times. Clones and handles made before keep
    /// theirs, with their backoff.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|settings| settings.set_backoff(backoff))
    }

    /// Sets the budget that pays for retries. Default: 20 % of the calls plus 10 per second, over
    /// 10 s.
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|settings| settings.share_budget(budget))
    }

    /// Replaces the mode's classification of outcomes. Default: the mode's.
    ///
    /// Takes a closure `|outcome: Result<&Response, &Error>| -> Verdict`, or any
    /// [`Classify`](buttress_core::Classify). Write the type of the closure's argument out.
    /// Otherwise the closure is not general enough for the compiler.
    #[doc(alias("is_retryable", "retry predicate"))]
    pub fn classify<J2>(self, classify: J2) -> RetryLayer<M, By<J2>> {
        RetryLayer { settings: self.settings, mode: self.mode, judge: By(classify) }
    }

    /// Learns how long a successful attempt usually takes, and skips attempts that would end at the
    /// deadline or later. Default: off. Costs two clock reads per attempt.
    ///
    /// The time that the service waits for the request's body does not count, because a further
    /// attempt has the whole body at hand. Over HTTP this costs two allocations for a streamed
    /// body.
    pub fn skip_late_attempts(self) -> Self {
        self.with(|settings| settings.late_attempts = LateAttempts::Skipped)
    }

    /// Limits the wait that a hint may ask for if the call has no deadline. Default: 60 s.
    ///
    /// A call with a longer hint stops at once, with
    /// [`StopReason::PushbackExceedsDeadline`](crate::StopReason). If the call has a deadline,
    /// every hint that fits into the deadline is waited for.
    pub fn max_hint(self, max: Duration) -> Self {
        self.with(|settings| settings.max_hint = max)
    }

    /// Waits once for an open circuit below, and then repeats the call for free. Default: an open
    /// circuit ([`CircuitOpen`](buttress_core::Reason::CircuitOpen)) stops the call at once.
    ///
    /// The wait is the `retry_after` of the rejection, lengthened by a random part of up to a half
    /// of it, so that the callers of an outage do not all come back together. If the deadline leaves
    /// less time, the random part is shortened. If `retry_after` itself does not fit into the
    /// deadline, or exceeds [`max_hint`](Self::max_hint) without a deadline, the call stops at once.
    /// So does a call whose rejection names no time, and a call that has waited for a rejection
    /// before.
    ///
    /// During an outage, each waiting call holds its request in memory for up to one and a half of
    /// the breaker's intervals. Calls with little time left may be the probes of the half-open
    /// circuit, and fail as probes because their deadlines pass. Use this option for few calls that
    /// have much time, such as jobs.
    #[doc(alias("half-open", "circuit breaker"))]
    pub fn wait_for_circuit(self) -> Self {
        self.with(|settings| settings.open_circuits = OpenCircuits::Wait)
    }

    /// Plans and pays for retries, and makes none: each call returns its first outcome at once.
    ///
    /// The budget is charged as for a real retry. `retry.scheduled` is emitted with `observed =
    /// true`, and [`RetryHandle::retries`] counts the planned attempt. An outcome is never marked
    /// as given up.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Gives each service attempts, a backoff, counters, learned times and a default budget of its
    /// own. Default: all services of the layer share them.
    ///
    /// A budget given by [`budget`](Self::budget) stays shared, and so does the random generator.
    /// The clones of one service share its state, which [`Retry::handle`] reads. The layer's own
    /// handle then counts nothing.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::PerService)
    }

    /// Sets the name of this instance in events. Default: `"retry"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Makes the jitter repeatable: the same seed and the same order of calls give the same delays.
    /// Default: a random seed.
    ///
    /// Returns a layer with a generator of its own. Clones and services made before keep the old
    /// one.
    pub fn seed(self, seed: u64) -> Self {
        self.with(|settings| settings.random = Arc::new(Random::seeded(seed)))
    }

    /// Returns a handle to the live numbers of all services of this layer.
    pub fn handle(&self) -> RetryHandle {
        RetryHandle::new(&self.settings)
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        Self { settings: self.settings.changed(change), ..self }
    }
}

impl<S, M: Clone, J: Clone> Layer<S> for RetryLayer<M, J> {
    type Service = Retry<S, M, J>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, self.settings.for_service(), self.mode.clone(), self.judge.clone())
    }
}

impl<M0, M, J> Bind<M> for RetryLayer<M0, J> {
    type Bound = RetryLayer<M, J>;

    fn bind(self, mode: M) -> RetryLayer<M, J> {
        RetryLayer { settings: self.settings, mode, judge: self.judge }
    }
}

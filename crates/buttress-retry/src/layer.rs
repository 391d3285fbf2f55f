use std::{borrow::Cow, sync::Arc, time::Duration};

use buttress_control::{Backoff, Random};
use buttress_core::{Bind, By, ByMode, Enforcement, Plain, StateScope};
use tower_layer::Layer;

use crate::{Budget, Retry, RetryHandle, attempt_time::LateAttempts, settings::Settings};

/// Repeats failed calls.
///
/// All clones of a layer, and all services it makes, share its budget, its counts and its source of
/// chance.
#[derive(Clone, Debug)]
#[doc(alias("retries", "repeat"))]
pub struct RetryLayer<M = Plain, J = ByMode> {
    settings: Arc<Settings>,
    mode: M,
    judge: J,
}

impl RetryLayer {
    /// Up to `attempts` attempts, the first included. Zero counts as one, which never repeats, not even
    /// what was never processed. With more, a free repetition does not count.
    pub fn new(attempts: u32) -> Self {
        Self { settings: Arc::new(Settings::new(attempts)), mode: Plain, judge: ByMode }
    }
}

impl<M, J> RetryLayer<M, J> {
    /// How long to wait before each attempt after the first. By default exponential from 1 s to
    /// 10 s with full jitter.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|settings| settings.backoff = backoff)
    }

    /// What retries are paid from. By default 20 % of the calls plus 10 per second.
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|settings| settings.share_budget(budget))
    }

    /// What an outcome means, in place of the mode's own classification: a closure
    /// `|outcome: Result<&Response, &Error>| -> Verdict`, or any
    /// [`Classify`](buttress_core::Classify). Write the closure's argument type out, or it is not
    /// general enough for the compiler.
    #[doc(alias("is_retryable", "retry predicate"))]
    pub fn classify<J2>(self, classify: J2) -> RetryLayer<M, By<J2>> {
        RetryLayer { settings: self.settings, mode: self.mode, judge: By(classify) }
    }

    /// Learns how long a successful attempt usually takes, and makes no attempt that would then
    /// outlast the deadline. Costs two clock reads per attempt.
    ///
    /// The time that the service waits for the body of the request is not learned, because a repetition sends at
    /// once what came slowly before. Over HTTP a body that comes bit by bit costs two allocations for it.
    pub fn skip_late_attempts(self) -> Self {
        self.with(|settings| settings.late_attempts = LateAttempts::Skipped)
    }

    /// The longest wait that a hint may ask for where no deadline bounds it. A call that is told to wait
    /// for longer stops at once, with [`StopReason::PushbackExceedsDeadline`](crate::StopReason). By default 60 s.
    ///
    /// Where there is a deadline, every hint that fits into it is waited for.
    pub fn max_hint(self, max: Duration) -> Self {
        self.with(|settings| settings.max_hint = max)
    }

    /// Plans and pays for retries, and makes none: each call returns its first outcome at once.
    ///
    /// The budget is charged as for a real retry. `retry.scheduled` is emitted with `observed = true`,
    /// and [`RetryHandle::retries`] counts the planned attempt. An outcome is never marked as given up.
    #[doc(alias("shadow mode", "dry run"))]
    pub fn observe(self) -> Self {
        self.with(|settings| settings.enforcement = Enforcement::Observe)
    }

    /// Gives each service counters, learned times and a default budget of its own. Default: all services
    /// of the layer share them.
    ///
    /// A budget given by [`budget`](Self::budget) stays shared, and so does the random generator. The
    /// clones of one service share its state, which [`Retry::handle`] reads. The layer's own handle
    /// then counts nothing.
    pub fn per_service(self) -> Self {
        self.with(|settings| settings.scope = StateScope::Service)
    }

    /// Sets the name of this instance in events. Default: `"retry"`.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|settings| settings.origin = settings.origin.clone().named(name))
    }

    /// Makes the jitter repeatable: the same seed and the same order of calls give the same delays.
    /// Default: a random seed.
    ///
    /// Returns a layer with a generator of its own. Clones and services made before keep the old one.
    pub fn seed(self, seed: u64) -> Self {
        self.with(|settings| settings.random = Arc::new(Random::seeded(seed)))
    }

    /// Returns a handle to the live numbers of all services of this layer.
    pub fn handle(&self) -> RetryHandle {
        RetryHandle::new(&self.settings)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
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

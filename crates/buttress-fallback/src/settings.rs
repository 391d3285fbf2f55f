use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use buttress_core::{Enforcement, Origin, Source, StateScope, Verdict};

use crate::selection::Selection;

/// The options of a layer, and the state that its services share.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) origin: Origin,
    pub(crate) at_most: u32,
    pub(crate) selection: Selection,
    pub(crate) readiness: Readiness,
    pub(crate) enforcement: Enforcement,
    pub(crate) scope: StateScope,
    pub(crate) state: Arc<FallbackState>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            origin: Origin::new("fallback"),
            at_most: 10,
            selection: Selection::default(),
            readiness: Readiness::BeforeCall,
            enforcement: Enforcement::Enforce,
            scope: StateScope::PerLayer,
            state: Arc::default(),
        }
    }

    /// Returns the settings for a further service, with state of its own under `per_service`.
    pub(crate) fn for_service(self: &Arc<Self>) -> Arc<Self> {
        match self.scope {
            StateScope::PerLayer => Arc::clone(self),
            StateScope::PerService => Arc::new(Self { state: Arc::default(), ..Self::clone(self) }),
        }
    }

    pub(crate) fn is_observing(&self) -> bool {
        self.enforcement == Enforcement::Observe
    }

    /// Whether a request is kept for the alternative service, because that service may be called.
    #[inline]
    pub(crate) fn keeps_requests(&self) -> bool {
        self.at_most > 0 && !self.is_observing()
    }

    /// Whether this is the verdict of an alternative service that has answered.
    pub(crate) fn is_answer(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Success => true,
            Verdict::Permanent => !self.selection.contains(verdict),
            _ => false,
        }
    }

    /// Takes a place for a call of the alternative service, if one is free.
    pub(crate) fn try_begin(&self) -> Option<AlternativePermit> {
        let running = &self.state.running;
        // The number guards no memory, so `Relaxed` suffices here and in `AlternativePermit::drop`.
        running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| {
                (running < self.at_most).then_some(running + 1)
            })
            .ok()?;
        Some(AlternativePermit { state: Arc::clone(&self.state) })
    }

    /// Counts and reports an answer, or the answer that would be given under `observe`.
    pub(crate) fn answered(&self, instead_of: Verdict, source: Source) {
        self.state.answered.fetch_add(1, Ordering::Relaxed);
        let (instance, observed) = (self.origin.name(), self.is_observing());
        let source = source.as_str();
        tracing::debug!(
            name: "fallback.answered", target: "buttress", instance, ?instead_of, source, observed,
        );
    }

    /// Counts and reports a call that the alternative service could not answer.
    pub(crate) fn failed(&self, instead_of: Verdict, failure: Failure) {
        let instance = self.origin.name();
        let (reason, verdict) = match failure {
            Failure::Full => {
                self.state.full.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(name: "fallback.full", target: "buttress", instance, ?instead_of);
                return;
            }
            Failure::NotReplayable => ("not_replayable", None),
            Failure::NoTimeLeft => ("no_time_left", None),
            Failure::Outcome(verdict) => ("failed", Some(tracing::field::debug(verdict))),
        };
        self.state.failed.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(
            name: "fallback.failed", target: "buttress", instance, ?instead_of, reason, verdict,
        );
    }
}

/// When a call waits for the readiness of the inner service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// In `poll_ready`.
    BeforeCall,
    /// In the response future, as `await_ready()` sets.
    InCall,
}

/// Why the alternative service did not answer.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// As many calls run as may.
    Full,
    /// The request can no longer be sent whole.
    NotReplayable,
    /// The deadline of the request leaves no time.
    NoTimeLeft,
    /// The outcome of the alternative service has this verdict.
    Outcome(Verdict),
}

/// The numbers that services share.
///
/// Each number stands for itself and orders no other memory, so all accesses are `Relaxed`.
#[derive(Debug, Default)]
pub(crate) struct FallbackState {
    pub(crate) calls: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) running: AtomicU32,
}

impl FallbackState {
    #[inline]
    pub(crate) fn note_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// A place of a running call of the alternative service. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct AlternativePermit {
    state: Arc<FallbackState>,
}

impl Drop for AlternativePermit {
    fn drop(&mut self) {
        self.state.running.fetch_sub(1, Ordering::Relaxed);
    }
}

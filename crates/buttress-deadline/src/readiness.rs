use std::task::{Context, Poll};

use buttress_core::{Deadline, Enforcement, SharedSettings, Timer};
use tower_service::Service;

use crate::{scoped_call::ScopedCall, settings::Settings};

/// The state of a service instance that waits for the inner service.
#[derive(Debug)]
pub(crate) enum Readiness {
    /// The instance has not waited.
    Idle,
    /// The same in a layer whose deadline differs from the ambient deadline inside. A variant of
    /// its own, so that the usual call makes a single test.
    IdleScoped,
    /// The inner service has been pending under `deadline`.
    Waiting { deadline: Option<Deadline>, timer: Timer },
    /// The inner service became ready after a wait under this deadline.
    Ready(Option<Deadline>),
    /// The deadline passed, and the next call is rejected.
    Expired(Deadline),
    /// The observed deadline passed while the inner service was pending.
    Late,
    /// The inner service became ready after the observed deadline had passed. The next call has
    /// been counted already.
    ReadyLate,
}

impl Readiness {
    #[inline]
    pub(crate) fn at_rest(settings: &Settings) -> Self {
        if settings.is_ambient() { Self::Idle } else { Self::IdleScoped }
    }

    /// Polls the inner service for an instance that has waited, or whose deadline differs from the
    /// ambient deadline inside.
    #[cold]
    pub(crate) fn poll_again<Req, S>(
        &mut self,
        inner: &mut S,
        settings: &SharedSettings<Settings>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req> + Clone,
    {
        let polled = match *self {
            // `poll_expiry` has put a clone in place of `inner`. The clone is not polled, because
            // `DeadlineService::call` rejects the next call.
            Self::Expired(_) => return Poll::Ready(Ok(())),
            Self::Waiting { deadline, .. } if settings.is_ambient() => {
                Deadline::with(deadline, || inner.poll_ready(cx))
            }
            Self::Waiting { deadline, .. } => {
                let scoped = ScopedCall::new(deadline, Deadline::whole(), settings);
                scoped.within(|| inner.poll_ready(cx))
            }
            Self::Late => inner.poll_ready(cx),
            Self::Ready(_) | Self::ReadyLate | Self::Idle | Self::IdleScoped => {
                // The earlier wait belongs to a call that was never made.
                *self = Self::at_rest(settings);
                inner.poll_ready(cx)
            }
        };
        if polled.is_pending() {
            return self.poll_expiry(inner, settings, cx).map(Ok);
        }
        match *self {
            Self::Waiting { deadline, .. } => *self = Self::Ready(deadline),
            Self::Late => *self = Self::ReadyLate,
            _ => {}
        }
        polled
    }

    /// Polls the deadline of a wait. Ready if the wait has expired.
    ///
    /// The deadline counts from the first time that the inner service was pending.
    #[cold]
    pub(crate) fn poll_expiry<S: Clone>(
        &mut self,
        inner: &mut S,
        settings: &Settings,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if matches!(self, Self::Idle | Self::IdleScoped) {
            let deadline = Deadline::earliest(settings.own_deadline().0, Deadline::whole());
            *self = Self::Waiting { deadline, timer: Timer::new() };
        }
        let Self::Waiting { deadline: Some(deadline), timer } = self else {
            return Poll::Pending;
        };
        let deadline = *deadline;
        if timer.poll(cx, deadline, &settings.state.timers).is_pending() {
            return Poll::Pending;
        }
        if settings.exceeded("readiness") == Enforcement::Observe {
            *self = Self::Late;
            return Poll::Pending;
        }
        // The instance that waited keeps its place in the inner queue. Dropping the instance gives
        // the place to another call.
        *inner = inner.clone();
        *self = Self::Expired(deadline);
        Poll::Ready(())
    }
}

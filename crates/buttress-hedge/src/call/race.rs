use std::pin::Pin;

use buttress_core::{Attempt, Deadline, Signals, Spent};
use pin_project::pin_project;

use crate::{
    WithheldReason,
    payment::{HedgePaid, HedgePayment},
};

/// The first try of a call, in place.
#[pin_project(project = FirstTryProjection)]
pub(crate) enum FirstTry<F> {
    Running(#[pin] F),
    Ended,
}

impl<F> FirstTry<F> {
    pub(crate) const fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }
}

/// The means to send a hedge.
pub(crate) enum KeptRequest<S, Saved> {
    /// The service for the hedges, which is not ready, and the copy of the request.
    Kept(S, Saved),
    /// No hedge can be sent.
    NotKept(WithheldReason),
    /// No hedge is wanted: the call passes through, or its hedging is over.
    Released,
}

/// The time of the next hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The call has not been pending yet.
    Unset,
    Now,
    At(Deadline),
    Never,
}

/// The tries of a call beside a first try that still runs. Exists once a hedge is due.
pub(crate) struct Race<F, Req, Outcome> {
    /// The failure of the first try.
    pub(crate) failed: Option<FailedTry<Outcome>>,
    /// The hedges that were sent. `None` in the place of a hedge that has failed.
    pub(crate) running: Vec<Option<Pin<Box<SentHedge<F>>>>>,
    /// The hedge that waits for readiness. There is one at most, because the others would wait for
    /// the same service.
    pub(crate) waiting: Option<WaitingHedge<Req>>,
    /// The hedges that were sent, would have been sent, or failed to become ready.
    pub(crate) used: u32,
    /// The hedges that were sent and not refused.
    pub(crate) hedges: u16,
    /// The calls that layers below made in tries that failed.
    pub(crate) spent_below: Spent,
    /// The place at which the last poll began, so that each try is the first to be polled in turn.
    pub(crate) turn: usize,
}

impl<F, Req, Outcome> Race<F, Req, Outcome> {
    pub(crate) const fn new() -> Self {
        Self {
            failed: None,
            running: Vec::new(),
            waiting: None,
            used: 0,
            hedges: 0,
            spent_below: Spent::new(0, 0),
            turn: 0,
        }
    }

    /// The calls of all tries beside the first call.
    pub(crate) const fn spent(&self) -> Spent {
        self.spent_below.plus(Spent::new(0, self.hedges))
    }

    pub(crate) fn is_hedge_running(&self) -> bool {
        self.running.iter().any(Option::is_some)
    }

    /// Whether no try runs any more.
    pub(crate) fn have_all_failed(&self) -> bool {
        self.failed.is_some() && !self.is_hedge_running()
    }
}

/// A hedge that was sent.
// Boxed by the race: a call that is not hedged has no room for a second future.
#[pin_project]
pub(crate) struct SentHedge<F> {
    #[pin]
    pub(crate) future: F,
    pub(crate) attempt: Attempt,
    pub(crate) paid: HedgePaid,
}

/// A hedge that is paid for, and waits for the service to become ready.
pub(crate) struct WaitingHedge<Req> {
    pub(crate) request: Req,
    pub(crate) attempt: Attempt,
    pub(crate) payment: HedgePayment,
    /// The end of the wait if the call has no deadline. Set once no try runs.
    pub(crate) end: Option<Deadline>,
}

/// The failure of a try, with the signals of its last poll except what the layers below spent.
pub(crate) struct FailedTry<Outcome> {
    pub(crate) outcome: Outcome,
    pub(crate) signals: Signals,
}

/// The outcome that the call returns.
pub(crate) struct Winner<Outcome> {
    pub(crate) outcome: Outcome,
    pub(crate) signals: Signals,
    /// The attempt of the hedge. `None` for the first try.
    pub(crate) hedge: Option<Attempt>,
    /// Whether the outcome is the service's answer.
    pub(crate) is_answer: bool,
}

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Guard, Rejection};

use crate::{lane::Turn, settings::Settings};

/// The turn of a call, kept with the response until its body has ended.
pub struct OrderGuard {
    turn: Turn,
    settings: Arc<Settings>,
}

impl OrderGuard {
    #[inline]
    pub(crate) const fn new(turn: Turn, settings: Arc<Settings>) -> Self {
        Self { turn, settings }
    }
}

impl Guard for OrderGuard {
    #[inline]
    fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        // `Pending` leaves no waker here: the body returns the ready frame, and is polled again for
        // the next.
        if self.turn.is_superseded() {
            return Poll::Ready(self.settings.supersede());
        }
        Poll::Pending
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        self.turn.poll_superseded(cx).map(|()| self.settings.supersede())
    }
}

impl fmt::Debug for OrderGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderGuard").finish_non_exhaustive()
    }
}

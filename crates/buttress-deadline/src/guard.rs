use std::task::{Context, Poll};

use buttress_core::{Guard, Rejection};

use crate::future::Call;

/// The deadline of a response's body: cuts it off, and is ambient while it is polled.
#[derive(Debug)]
pub struct DeadlineGuard {
    body: Call,
}

impl DeadlineGuard {
    pub(crate) const fn new(body: Call) -> Self {
        Self { body }
    }
}

impl Guard for DeadlineGuard {
    #[inline]
    fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        self.body.poll_stop("body").map(|()| self.body.rejection())
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        self.body.poll_cut(cx, "body").map(|()| self.body.rejection())
    }

    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        self.body.within(f)
    }
}

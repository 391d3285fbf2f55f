use std::task::{Context, Poll};

use buttress_core::{Deadline, Guard, Rejection};

use crate::{scoped_call::ScopedCall, timed_call::TimedCall};

/// The deadline of a response body: cuts the body off, and is ambient while the body is polled.
#[derive(Debug)]
pub struct DeadlineGuard {
    body: Body,
}

#[derive(Debug)]
enum Body {
    Timed(TimedCall),
    Scoped(Box<ScopedCall>),
}

impl DeadlineGuard {
    #[inline]
    pub(crate) const fn new(body: TimedCall) -> Self {
        Self { body: Body::Timed(body) }
    }

    pub(crate) fn scoped(body: ScopedCall) -> Self {
        Self { body: Body::Scoped(Box::new(body)) }
    }

    #[cold]
    fn rejection(&self) -> Rejection {
        match &self.body {
            Body::Timed(body) => body.rejection(),
            Body::Scoped(body) => body.rejection(),
        }
    }
}

impl Guard for DeadlineGuard {
    #[inline]
    fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        // `Pending` leaves no waker here: `ControlBody` returns the ready frame, and is polled
        // again for the next.
        let stopped = match &mut self.body {
            Body::Timed(body) => body.poll_stop("body"),
            Body::Scoped(body) => body.poll_stop("body"),
        };
        stopped.map(|()| self.rejection())
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        let cut = match &mut self.body {
            Body::Timed(body) => body.poll_cut(cx, "body"),
            Body::Scoped(body) => body.poll_cut(cx, "body"),
        };
        cut.map(|()| self.rejection())
    }

    #[inline]
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.body {
            Body::Timed(body) => Deadline::with(body.deadline(), f),
            Body::Scoped(body) => body.within(f),
        }
    }
}

//! A body that follows a script, in paused time.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Guard, Origin, Reason, Rejection};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

pub(crate) enum Step {
    Data(&'static str),
    Trailers(HeaderMap),
    Fail(BoxError),
    Wait(Duration),
}

/// Its length is known when it is made of data alone.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    watch: Watch,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), sleep: None, watch: Watch::default() }
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(sleep) = self.sleep.as_mut() {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            return Poll::Ready(match self.steps.pop_front() {
                None => None,
                Some(Step::Data(data)) => {
                    Some(Ok(Frame::data(Bytes::from_static(data.as_bytes()))))
                }
                Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Step::Fail(error)) => Some(Err(error)),
                Some(Step::Wait(time)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.size_hint().exact().is_some()
    }

    fn size_hint(&self) -> SizeHint {
        let mut length = 0;
        for step in &self.steps {
            match step {
                Step::Data(data) => length += data.len() as u64,
                _ => return SizeHint::new(),
            }
        }
        SizeHint::with_exact(length)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.watch.0.store(true, Ordering::SeqCst);
    }
}

/// Tells whether something was dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<AtomicBool>);

impl Watch {
    pub(crate) fn is_dropped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Cuts off `timeout` after it was made, and stops what is ready later, with the deadline as the
/// ambient one.
pub(crate) struct Cut {
    deadline: Deadline,
    sleep: Pin<Box<Sleep>>,
    watch: Watch,
}

impl Cut {
    pub(crate) fn after(timeout: Duration) -> Self {
        let deadline = Deadline::after(timeout);
        let sleep = Box::pin(tokio::time::sleep_until(deadline.instant()));
        Self { deadline, sleep, watch: Watch::default() }
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

impl Guard for Cut {
    fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        if Instant::now() > self.deadline.instant() {
            Poll::Ready(too_late().enforcing(self.deadline))
        } else {
            Poll::Pending
        }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(too_late().enforcing(self.deadline))
    }

    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        Deadline::with(Some(self.deadline), f)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.watch.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) fn too_late() -> Rejection {
    Rejection::new(Reason::DeadlineExceeded, Origin::new("deadline").named("db"))
}

//! A body that the test feeds, and that reports its end.

use std::{
    collections::VecDeque,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use buttress_core::BoxError;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

#[derive(Debug)]
pub(crate) enum Step {
    Data(&'static str),
    Trailers(HeaderMap),
    /// Nothing yet, but soon.
    Pause,
    Fail(BoxError),
    Panic,
    End,
}

/// The end where the test puts in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feed(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    steps: VecDeque<Step>,
    waker: Option<Waker>,
    polls: usize,
    length: Option<u64>,
    is_dropped: bool,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One whose body says that it has `length` bytes.
    pub(crate) fn of_length(length: u64) -> Self {
        let feed = Self::new();
        feed.inside().length = Some(length);
        feed
    }

    pub(crate) fn body(&self) -> Fed {
        Fed(self.clone())
    }

    /// Appends a frame, and wakes the waiting reader.
    pub(crate) fn put(&self, step: Step) {
        let waker = {
            let mut inside = self.inside();
            inside.steps.push_back(step);
            inside.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn text(&self, text: &'static str) {
        self.put(Step::Data(text));
    }

    pub(crate) fn end(&self) {
        self.put(Step::End);
    }

    /// How often the body has been polled.
    pub(crate) fn polls(&self) -> usize {
        self.inside().polls
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.inside().is_dropped
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }
}

/// The body.
#[derive(Debug)]
pub(crate) struct Fed(Feed);

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (step, before) = {
            let mut inside = self.0.inside();
            inside.polls += 1;
            let step = inside.steps.pop_front();
            if let (Some(Step::Data(data)), Some(length)) = (&step, &mut inside.length) {
                *length -= data.len() as u64;
            }
            let waker = step.is_none().then(|| cx.waker().clone());
            (step, std::mem::replace(&mut inside.waker, waker))
        };
        drop(before);
        match step {
            None => Poll::Pending,
            Some(Step::Data(data)) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(data.as_bytes())))))
            }
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Fail(error)) => Poll::Ready(Some(Err(error))),
            Some(Step::Panic) => resume_unwind(Box::new("the body panicked")),
            Some(Step::End) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.inside().length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.inside().length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.0.inside().is_dropped = true;
    }
}

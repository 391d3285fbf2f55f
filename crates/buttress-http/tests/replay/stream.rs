//! A body with given frames, pauses and failures, and a reader that can stop anywhere.

use std::{
    collections::VecDeque,
    panic::resume_unwind,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_core::BoxError;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

pub(crate) type Boxed = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Pause,
    Fail,
    Panic,
}

/// A stream that does not know its length, or one that says `length`.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) steps: VecDeque<Step>,
    pub(crate) length: Option<u64>,
}

impl Stream {
    pub(crate) fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), length: None }
    }

    pub(crate) fn text(chunks: &[&'static str]) -> Self {
        Self::of(chunks.iter().map(|chunk| Step::Data(Bytes::from_static(chunk.as_bytes()))))
    }

    pub(crate) fn with_length(mut self) -> Self {
        self.length = Some(self.left());
        self
    }

    pub(crate) fn boxed(self) -> Boxed {
        UnsyncBoxBody::new(self)
    }

    fn left(&self) -> u64 {
        let length = |step: &Step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        };
        self.steps.iter().map(length).sum()
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let step = self.steps.pop_front();
        if let (Some(length), Some(Step::Data(data))) = (&mut self.length, &step) {
            *length -= data.len() as u64;
        }
        match step {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Fail) => Poll::Ready(Some(Err("the stream broke".into()))),
            Some(Step::Panic) => resume_unwind(Box::new("the stream panicked")),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0) && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// What was read of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) failed: bool,
    pub(crate) ended: bool,
}

/// Polls `body` up to `polls` times.
pub(crate) fn read_some<B>(body: &mut B, polls: usize) -> Read
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut read = Read::default();
    for _ in 0..polls {
        match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {}
            Poll::Ready(None) => read.ended = true,
            Poll::Ready(Some(Err(_))) => read.failed = true,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => read.data.extend_from_slice(&data),
                Err(frame) => read.trailers = frame.into_trailers().ok(),
            },
        }
        if read.ended || read.failed {
            break;
        }
    }
    read
}

/// Reads `body` to its end.
pub(crate) fn read_all<B>(mut body: B) -> Read
where
    B: Body<Data = Bytes> + Unpin,
{
    read_some(&mut body, usize::MAX)
}

pub(crate) fn text(read: &Read) -> &str {
    std::str::from_utf8(&read.data).unwrap_or("not text")
}

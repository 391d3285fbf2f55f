use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::BoxError;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use super::{error::Failure, frame::SharedFrame};
use crate::body_error::bare;

/// A body on its way to many readers.
#[derive(Debug)]
pub(super) struct Source<B> {
    /// `None` once it goes on with a single reader.
    body: Option<B>,
    /// Where small chunks are copied together. Each would else keep the buffer alive that it was read
    /// into, which takes a multiple of its bytes.
    block: BytesMut,
    has_read: bool,
}

/// What came of a body.
pub(super) enum Read {
    /// A frame; one that cannot be shared is an `Err`.
    Frame(Result<SharedFrame, Frame<Bytes>>),
    /// The frame that ends it.
    Last(SharedFrame),
    End,
    Failed(Failure),
}

impl<B> Source<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body: Some(body), block: BytesMut::new(), has_read: false }
    }

    /// The body, for a reader of its own.
    pub(super) fn take(&mut self) -> Option<B> {
        self.body.take()
    }

    fn shared(&mut self, frame: Frame<Bytes>) -> Result<SharedFrame, Frame<Bytes>> {
        match frame.into_data() {
            Ok(data) => Ok(SharedFrame::Data(self.compact(data))),
            Err(frame) => Ok(SharedFrame::Trailers(Arc::new(frame.into_trailers()?))),
        }
    }

    fn compact(&mut self, data: Bytes) -> Bytes {
        if data.len() >= SMALL || !mem::replace(&mut self.has_read, true) {
            return data;
        }
        if self.block.capacity() < data.len() {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        self.block.extend_from_slice(&data);
        self.block.split().freeze()
    }
}

impl<B> Source<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Reads on. A panic is a failure.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        catch_unwind(AssertUnwindSafe(|| self.read(cx)))
            .unwrap_or(Poll::Ready(Read::Failed(Failure::Panicked)))
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let Some(body) = &mut self.body else { return Poll::Ready(Read::End) };
        Poll::Ready(match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => Read::End,
            Some(Err(error)) => Read::Failed(Failure::of(bare(error))),
            Some(Ok(frame)) => {
                let is_last = body.is_end_stream();
                match self.shared(frame) {
                    // Nothing follows trailers.
                    Ok(frame) if is_last || frame.is_trailers() => Read::Last(frame),
                    frame => Read::Frame(frame),
                }
            }
        })
    }
}

/// Chunks below this many bytes are copied together, except for the first: most bodies are one chunk.
const SMALL: usize = 512;

/// How many bytes are copied together.
const BLOCK: usize = 2048;

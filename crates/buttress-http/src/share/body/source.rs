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

use super::{
    error::{BodyFailure, Unknown},
    frame::SharedFrame,
};
use crate::message::body_error::bare;

/// The inner body of a shared body.
#[derive(Debug)]
pub(super) struct Source<B> {
    body: B,
    /// Small chunks are copied together here. Otherwise each would keep its read buffer alive,
    /// which is several times its size.
    block: BytesMut,
    has_read: bool,
}

/// The result of reading the body.
pub(super) enum SourceRead {
    Frame(SharedFrame),
    /// The frame that ends the body.
    Last(SharedFrame),
    End,
    Failed(BodyFailure),
}

impl<B> Source<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, block: BytesMut::new(), has_read: false }
    }

    /// The frame in its shared form. `None` if it is of a kind that cannot be shared.
    fn shared(&mut self, frame: Frame<Bytes>) -> Option<SharedFrame> {
        match frame.into_data() {
            Ok(data) => Some(SharedFrame::Data(self.compact(data))),
            Err(frame) => Some(SharedFrame::Trailers(Arc::new(frame.into_trailers().ok()?))),
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
    /// Reads the next frame. A panic is a failure.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SourceRead> {
        // Caught, so that the panic does not unwind the caller that happens to drive: each reader
        // gets `BodyFailure::Panicked`. The body is not polled again, because `FrameLog::step`
        // closes the log and the relay drops the work.
        catch_unwind(AssertUnwindSafe(|| self.read(cx)))
            .unwrap_or(Poll::Ready(SourceRead::Failed(BodyFailure::Panicked)))
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<SourceRead> {
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => SourceRead::End,
            Some(Err(error)) => SourceRead::Failed(BodyFailure::of(bare(error))),
            Some(Ok(frame)) => {
                let is_last = self.body.is_end_stream();
                match self.shared(frame) {
                    // No frame follows trailers.
                    Some(frame) if is_last || frame.is_trailers() => SourceRead::Last(frame),
                    Some(frame) => SourceRead::Frame(frame),
                    None => SourceRead::Failed(BodyFailure::Error(Arc::new(Unknown))),
                }
            }
        })
    }
}

/// Chunks below this size are copied together, except for the first, because most bodies are a
/// single chunk. In bytes.
const SMALL: usize = 512;

/// The size of a block that chunks are copied into, in bytes.
const BLOCK: usize = 2048;

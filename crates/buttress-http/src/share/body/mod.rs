use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use self::{error::Abandoned, frame_log::NextFrame, reader::BodyReader, stored::StoredResponse};

mod byte_reservation;
pub(super) mod caller_source;
mod error;
pub(super) mod frame;
mod frame_log;
mod live;
mod reader;
mod source;
pub(super) mod stored;

pub use self::error::TooLong;

/// The body of a response that may have several callers.
///
/// For a single caller this is the inner body, frame by frame. Several callers read the same inner
/// body: each receives every frame from the first on, data and trailers, as soon as the frame is
/// there. Each reader that is polled drives the inner body for all of them. A reader that is slow,
/// or no longer polled, delays the others only if the body is long.
///
/// The inner body is dropped as soon as it has ended. If it fails, each reader receives the frames
/// before the failure, and then an error whose [`source`](std::error::Error::source) is the error
/// of the inner body. If it panics, each reader receives a [`Rejection`](buttress_core::Rejection).
///
/// # Long bodies
///
/// A body can turn out to be longer than [`Http::max_shared_body`](crate::Http::max_shared_body),
/// or than the bytes that the layer has left for all bodies. Such a body takes no new reader and is
/// not cached. Its readers still receive all of it. Their frames are held in a window of that size,
/// which moves with them: a frame is dropped when its last reader has read it, or has left. If
/// there is no room for the next frame, the readers in front wait for those behind. The window has
/// room for at least one frame, however long the frame is.
///
/// That wait is limited. The window moves on without a reader, which then fails with [`TooLong`],
/// if the reader
///
/// - does not read on for 10 ms while others wait and frames are there for it,
/// - or has held up the others for 1 s in all since it last had read every frame.
///
/// Both times are counted in ticks of 1 ms of such a wait. Readers that are held and not polled
/// cost the others 10 ms together, however many they are. Without a tokio timer a tick is one turn
/// of the waiting task.
///
/// # Size
///
/// The size and the end are those of the inner body, less the bytes read. If the inner body states
/// no size, the size is known once all of the body is there, unless it had trailers.
#[derive(Debug)]
pub struct SharedBody<B> {
    pub(super) state: BodyState<B>,
}

#[derive(Debug)]
pub(super) enum BodyState<B> {
    Own(B),
    Reading(BodyReader<B>),
    Playing {
        stored: Arc<StoredResponse>,
        index: usize,
    },
    /// The body had ended before it was shared, and stated this size.
    Empty(SizeHint),
    Ended,
}

impl<B> SharedBody<B> {
    /// Creates a body that has ended.
    pub const fn empty() -> Self {
        Self { state: BodyState::Ended }
    }

    pub(crate) const fn own(body: B) -> Self {
        Self { state: BodyState::Own(body) }
    }
}

impl<B> Default for SharedBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B> Body for SharedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let last = match &mut this.state {
            BodyState::Own(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
            BodyState::Playing { stored, index } => {
                let frame = stored.frame(*index).map(Ok);
                *index += usize::from(frame.is_some());
                return Poll::Ready(frame);
            }
            BodyState::Empty(_) | BodyState::Ended => return Poll::Ready(None),
            BodyState::Reading(reader) => match ready!(reader.poll(cx)) {
                NextFrame::Frame(frame) => return Poll::Ready(Some(Ok(frame.into_frame()))),
                NextFrame::Last(frame) => Some(Ok(frame.into_frame())),
                NextFrame::Failed(failure) => Some(Err(failure.into())),
                NextFrame::TooLong => Some(Err(TooLong.into())),
                NextFrame::Wait | NextFrame::Abandoned => Some(Err(Abandoned.into())),
                NextFrame::Ended => None,
            },
        };
        // Drops the reader, with no lock held: `BodyReader::drop` leaves the log and the relay now,
        // however long the caller keeps this body.
        this.state = BodyState::Ended;
        Poll::Ready(last)
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            BodyState::Own(body) => body.is_end_stream(),
            BodyState::Reading(reader) => reader.is_end_stream(),
            BodyState::Playing { stored, index } => stored.is_read(*index),
            BodyState::Empty(_) | BodyState::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            BodyState::Own(body) => body.size_hint(),
            BodyState::Reading(reader) => reader.size_hint(),
            BodyState::Playing { stored, index } => stored.hint(*index),
            BodyState::Empty(hint) => *hint,
            BodyState::Ended => SizeHint::with_exact(0),
        }
    }
}

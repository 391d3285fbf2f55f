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

/// The body of a response that may have many callers.
///
/// For a single caller it is the body inside, frame by frame. For many it reads what all of them
/// read: each gets every frame from the first on, data and trailers, as soon as it is there. Whoever
/// is polled pulls the body inside along, for all. A reader that is slow, or is not polled any more,
/// does not delay the others, unless the body is long.
///
/// The body inside is dropped as soon as it has ended. If it fails, its error comes to each reader
/// after the frames before it, as the [`source`](std::error::Error::source) of the one it gets. If
/// it panics, each gets a [`Rejection`](buttress_core::Rejection).
///
/// # Long bodies
///
/// A body that turns out to be longer than [`Http::max_shared_body`](crate::Http::max_shared_body), or than what
/// the layer has left for all bodies, takes no new reader and is not kept. Its readers get all of it.
/// Their frames are held in a window of that size, which moves with them: a frame is dropped when its
/// last reader has read it, or has left. If there is no room for the next frame, the readers in front
/// wait for those behind. The window has room for at least one frame, however long the frame is.
///
/// That wait is bounded. The window moves on without a reader, which then fails with [`TooLong`], if
/// - it does not read on for 10 ms while others wait and there are frames for it,
/// - or it has held the others up for 1 s in all since it last had read every frame.
///
/// Both times are counted in ticks of 1 ms of such a wait. Readers that are held and not polled cost the
/// others 10 ms together, however many they are. Without a tokio timer a tick is one turn of the task
/// that waits.
///
/// # Size
///
/// The size and the end of the body are those of the body inside, less what has been read. Where it
/// did not say its size, that is known once all of it is there, unless it had trailers.
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
    /// It had ended before it was shared, and said so.
    Empty(SizeHint),
    Ended,
}

impl<B> SharedBody<B> {
    /// A body that has ended.
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

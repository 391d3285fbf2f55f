use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// The part of a body that was read, and the body itself for the rest.
#[derive(Debug)]
pub(crate) struct RecordedBody<B> {
    /// `None` once the body has ended, and while it is polled: a body that panics is lost.
    rest: Option<B>,
    ended: bool,
    chunks: Vec<Bytes>,
    /// Small chunks are copied together here. Otherwise a body of many would take several times its
    /// size.
    small: BytesMut,
    trailers: Option<HeaderMap>,
    room: usize,
    /// The whole length, if the body knew it. Only then do attempts state a length: a framing that
    /// differs between two attempts would lose the trailers.
    exact: Option<u64>,
    playing: Position,
}

/// The position of an attempt.
#[derive(Debug, Default)]
struct Position {
    sent: u64,
    /// The next recorded chunk to send.
    chunk: usize,
    /// The number of chunks that were recorded when the attempt began.
    chunks: usize,
    trailers: bool,
}

impl<B> RecordedBody<B> {
    /// Moves to the start. `false` if the body is lost.
    pub(crate) fn rewind(&mut self) -> bool {
        if !self.small.is_empty() {
            self.chunks.push(self.small.split().freeze());
        }
        self.playing = Position {
            sent: 0,
            chunk: 0,
            chunks: self.chunks.len(),
            trailers: self.trailers.is_some(),
        };
        self.ended || self.rest.is_some()
    }

    /// The next frame of an earlier attempt.
    pub(crate) fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        let playing = &mut self.playing;
        if playing.chunk < playing.chunks {
            let chunk = self.chunks.get(playing.chunk)?.clone();
            playing.chunk += 1;
            playing.sent = playing.sent.saturating_add(length(&chunk));
            Some(Frame::data(chunk))
        } else if mem::take(&mut playing.trailers) {
            self.trailers.clone().map(Frame::trailers)
        } else {
            None
        }
    }

    /// The body, for an attempt that is not recorded any further.
    pub(crate) fn rest(&mut self) -> Option<B> {
        self.rest.take()
    }

    /// Whether the body has ended. A body that panicked has not.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    fn is_recorded_played(&self) -> bool {
        self.playing.chunk == self.playing.chunks && !self.playing.trailers
    }

    fn keep(&mut self, chunk: &Bytes) {
        if chunk.len() >= SMALL || (self.chunks.is_empty() && self.small.is_empty()) {
            if !self.small.is_empty() {
                self.chunks.push(self.small.split().freeze());
            }
            self.chunks.push(chunk.clone());
        } else {
            self.small.extend_from_slice(chunk);
        }
    }
}

impl<B> RecordedBody<B>
where
    B: Body<Data = Bytes>,
{
    /// Records up to `cap` bytes of `body`.
    pub(crate) fn new(body: B, cap: usize) -> Self {
        Self {
            exact: body.size_hint().exact(),
            rest: Some(body),
            ended: false,
            chunks: Vec::new(),
            small: BytesMut::new(),
            trailers: None,
            room: cap,
            playing: Position::default(),
        }
    }

    /// Records a frame. `false` if there is no room, or if the frame cannot be played again.
    pub(crate) fn record(&mut self, frame: &Frame<Bytes>) -> bool {
        // No frame follows trailers.
        if self.trailers.is_some() {
            return false;
        }
        if let Some(chunk) = frame.data_ref() {
            self.playing.sent = self.playing.sent.saturating_add(length(chunk));
            if !self.has_room(chunk.len()) {
                return false;
            }
            if !chunk.is_empty() {
                self.keep(chunk);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            let size = trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
            if !self.has_room(size) {
                return false;
            }
            self.trailers = Some(trailers.clone());
        } else {
            return false;
        }
        // This attempt has sent the frame, so `next_frame` must not play that frame. A chunk in
        // `small` joins `chunks` in `rewind`.
        self.playing.chunk = self.chunks.len();
        self.playing.chunks = self.chunks.len();
        true
    }

    /// Whether no frame is left to send.
    pub(crate) fn is_played(&self) -> bool {
        let ended = self.ended || self.rest.as_ref().is_some_and(Body::is_end_stream);
        ended && self.is_recorded_played()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if let Some(exact) = self.exact {
            return SizeHint::with_exact(exact.saturating_sub(self.playing.sent));
        }
        let unplayed = self.chunks.get(self.playing.chunk..).unwrap_or_default();
        let unplayed = unplayed.iter().map(length).fold(0, u64::saturating_add);
        let rest = self.rest.as_ref().map_or(0, |body| body.size_hint().lower());
        let mut hint = SizeHint::new();
        hint.set_lower(unplayed.saturating_add(rest));
        hint
    }

    fn has_room(&mut self, size: usize) -> bool {
        match self.room.checked_sub(size) {
            Some(room) => {
                self.room = room;
                true
            }
            None => false,
        }
    }
}

impl<B> RecordedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Reads on where the last attempt stopped. `None` at the end.
    #[expect(clippy::type_complexity, reason = "a poll of a frame, where there is one")]
    pub(crate) fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Option<Result<Frame<Bytes>, B::Error>>>> {
        // Taken for the poll. If the body panics, `rest` stays `None`, and `Tee::drop` does not put
        // the recording back, because `rewind` fails.
        let mut body = self.rest.take()?;
        let polled = Pin::new(&mut body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.ended = true,
            _ => self.rest = Some(body),
        }
        Some(polled)
    }
}

fn length(chunk: &Bytes) -> u64 {
    chunk.len().try_into().unwrap_or(u64::MAX)
}

/// Chunks below this size are copied together, so that few are kept apart. In bytes.
const SMALL: usize = 512;

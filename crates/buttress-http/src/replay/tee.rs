use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{body::fits, recording::Tape};

/// What is kept of a body: nothing of one that is empty, else the tape it is recorded on.
#[derive(Debug)]
pub struct Recording<B>(Option<Shelf<B>>);

/// A body on its way out, recorded, and `wrap`ped to look as before. `None` if it is too long.
pub(crate) fn record<B>(
    body: B,
    cap: usize,
    wrap: impl FnOnce(Tee<B>) -> B,
) -> (B, Option<Recording<B>>)
where
    B: Body<Data = Bytes> + Default,
{
    if body.is_end_stream() {
        return (body, Some(Recording(None)));
    }
    if !fits(&body, cap) {
        return (body, None);
    }
    let shelf = Shelf::empty();
    let tape = Tape::blank(body, cap);
    (wrap(Tee::new(tape, shelf.clone())), Some(Recording(Some(shelf))))
}

/// The same body from its start, unless it is being read or is lost.
pub(crate) fn play<B>(recording: &Recording<B>, wrap: impl FnOnce(Tee<B>) -> B) -> Option<B>
where
    B: Body<Data = Bytes> + Default,
{
    match &recording.0 {
        None => Some(B::default()),
        Some(shelf) => Some(wrap(Tee::new(shelf.take()?, shelf.clone()))),
    }
}

/// A body that is recorded while it is read.
///
/// It owns its tape, and puts it back on the shelf once it is read to the end or dropped. So there
/// is one reader at a time, the lock is held for a move, and while an attempt still reads there is
/// nothing to make another from.
#[derive(Debug)]
pub(crate) struct Tee<B> {
    state: State<B>,
}

impl<B> Tee<B> {
    fn new(tape: Tape<B>, shelf: Shelf<B>) -> Self {
        Self { state: State::Recording { tape, shelf } }
    }

    fn put_back(&mut self) {
        if let State::Recording { tape, shelf } = mem::replace(&mut self.state, State::Ended) {
            shelf.put(tape);
        }
    }
}

impl<B> Body for Tee<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let (tape, home) = match &mut this.state {
            State::Recording { tape, shelf } => (tape, shelf),
            State::Passing(body) => return Pin::new(body).poll_frame(cx),
            State::Ended => return Poll::Ready(None),
        };
        if let Some(frame) = tape.recorded() {
            if tape.is_played() {
                this.put_back();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(polled) = tape.poll_rest(cx) else {
            this.put_back();
            return Poll::Ready(None);
        };
        match ready!(polled) {
            Some(Ok(frame)) => {
                if home.is_watched() && tape.record(&frame) {
                    if tape.is_played() {
                        this.put_back();
                    }
                } else {
                    this.state = match tape.rest() {
                        Some(body) => State::Passing(body),
                        None => State::Ended,
                    };
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // What failed cannot be sent again: the tape goes.
            Some(Err(error)) => {
                this.state = State::Ended;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.put_back();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Recording { tape, .. } => tape.is_played(),
            State::Passing(body) => body.is_end_stream(),
            State::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Recording { tape, .. } => tape.size_hint(),
            State::Passing(body) => body.size_hint(),
            State::Ended => SizeHint::with_exact(0),
        }
    }
}

impl<B> Drop for Tee<B> {
    fn drop(&mut self) {
        self.put_back();
    }
}

#[expect(clippy::large_enum_variant, reason = "always in the box of the body it is wrapped in")]
#[derive(Debug)]
enum State<B> {
    Recording {
        tape: Tape<B>,
        shelf: Shelf<B>,
    },
    /// Too long to record, or nobody would play it.
    Passing(B),
    Ended,
}

/// Where the tape lies between two attempts.
struct Shelf<B>(Arc<Mutex<Option<Tape<B>>>>);

impl<B> Shelf<B> {
    fn empty() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    fn take(&self) -> Option<Tape<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, mut tape: Tape<B>) {
        if !self.is_watched() || !tape.rewind() {
            return;
        }
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(tape);
        drop(before);
    }

    /// Whether there is still somebody who could want another attempt.
    fn is_watched(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl<B> Clone for Shelf<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Shelf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

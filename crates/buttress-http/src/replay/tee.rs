use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::recording::RecordedBody;

/// The recording of a body, or nothing for an empty body.
#[derive(Debug)]
pub struct Recording<B>(Option<RecordingSlot<B>>);

/// Replaces `body` by one that is recorded while it is sent. `wrap` returns the recorded body to the
/// type of the body. `None` if the body is too long.
pub(crate) fn record<B>(
    body: &mut B,
    cap: usize,
    wrap: impl FnOnce(Tee<B>) -> B,
) -> Option<Recording<B>>
where
    B: Body<Data = Bytes> + Default,
{
    if body.is_end_stream() {
        return Some(Recording(None));
    }
    if !fits(body, cap) {
        return None;
    }
    let slot = RecordingSlot::empty();
    let recorded = RecordedBody::new(mem::take(body), cap);
    *body = wrap(Tee::new(recorded, slot.clone()));
    Some(Recording(Some(slot)))
}

/// The same body from its start, unless an attempt reads it or it is lost.
pub(crate) fn play<B>(recording: &Recording<B>, wrap: impl FnOnce(Tee<B>) -> B) -> Option<B>
where
    B: Body<Data = Bytes> + Default,
{
    match &recording.0 {
        None => Some(B::default()),
        Some(slot) => Some(wrap(Tee::new(slot.take()?, slot.clone()))),
    }
}

/// Whether a body states at most `cap` bytes.
pub(crate) fn fits(body: &impl Body, cap: usize) -> bool {
    u64::try_from(cap).is_ok_and(|cap| body.size_hint().lower() <= cap)
}

/// A body that is recorded while it is read.
///
/// The tee owns the recording, and puts it back into the slot at the end of the body or when
/// dropped. So there is a single reader at a time, the lock is held for a move, and no second
/// attempt can start while another still reads.
#[derive(Debug)]
pub(crate) struct Tee<B> {
    state: TeeState<B>,
}

impl<B> Tee<B> {
    fn new(recorded: RecordedBody<B>, slot: RecordingSlot<B>) -> Self {
        Self { state: TeeState::Recording { recorded, slot } }
    }

    fn put_back(&mut self) {
        if let TeeState::Recording { recorded, slot } =
            mem::replace(&mut self.state, TeeState::Ended)
        {
            slot.put(recorded);
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
        let (recorded, slot) = match &mut this.state {
            TeeState::Recording { recorded, slot } => (recorded, slot),
            TeeState::Passing(body) => return Pin::new(body).poll_frame(cx),
            TeeState::Ended => return Poll::Ready(None),
        };
        if let Some(frame) = recorded.next_frame() {
            if recorded.is_played() {
                this.put_back();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(polled) = recorded.poll_rest(cx) else {
            if !recorded.has_ended() {
                // An end here would send the half of a body as a whole one.
                unreachable!("polled after the body panicked");
            }
            this.put_back();
            return Poll::Ready(None);
        };
        match ready!(polled) {
            Some(Ok(frame)) => {
                if slot.is_watched() && recorded.record(&frame) {
                    if recorded.is_played() {
                        this.put_back();
                    }
                } else {
                    // The recording is dropped and not put back. `play` then finds the slot empty,
                    // and the call is not repeated.
                    this.state = match recorded.rest() {
                        Some(body) => TeeState::Passing(body),
                        None => TeeState::Ended,
                    };
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // A failed body cannot be sent again, so the recording is dropped.
            Some(Err(error)) => {
                this.state = TeeState::Ended;
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
            TeeState::Recording { recorded, .. } => recorded.is_played(),
            TeeState::Passing(body) => body.is_end_stream(),
            TeeState::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            TeeState::Recording { recorded, .. } => recorded.size_hint(),
            TeeState::Passing(body) => body.size_hint(),
            TeeState::Ended => SizeHint::with_exact(0),
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
enum TeeState<B> {
    Recording {
        recorded: RecordedBody<B>,
        slot: RecordingSlot<B>,
    },
    /// Too long to record, or no attempt can follow.
    Passing(B),
    Ended,
}

/// The place of the recording between two attempts.
struct RecordingSlot<B>(Arc<Mutex<Option<RecordedBody<B>>>>);

impl<B> RecordingSlot<B> {
    fn empty() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    fn take(&self) -> Option<RecordedBody<B>> {
        // The lock is held for a move, here and in `put`, so a poisoned lock means nothing. The
        // body is polled and dropped without the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, mut recorded: RecordedBody<B>) {
        if !self.is_watched() || !recorded.rewind() {
            return;
        }
        // Dropped after the lock: a body is foreign code.
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(recorded);
        drop(before);
    }

    /// Whether another attempt can follow: the retry holds the other reference until its last
    /// attempt.
    fn is_watched(&self) -> bool {
        // A relaxed load. If the retry drops its reference after this look, the recording goes into
        // a slot that the tee frees.
        Arc::strong_count(&self.0) > 1
    }
}

impl<B> Clone for RecordingSlot<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for RecordingSlot<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingSlot").finish_non_exhaustive()
    }
}

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use buttress_core::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{charge::Charge, frame::SharedFrame, track::Remains};

/// A body that was too long to share, for the one reader that goes on with it: what was kept, and
/// then the body itself.
#[derive(Debug)]
pub(super) struct Alone<B> {
    ahead: vec::IntoIter<SharedFrame>,
    charge: Charge,
    frame: Option<Frame<Bytes>>,
    body: Option<B>,
}

impl<B> Alone<B> {
    /// What is left for a reader of `index` frames.
    pub(super) fn new(remains: Remains<B>, index: usize) -> Self {
        let Remains { frames, charge, rest } = remains;
        let ahead = frames.into_iter();
        let mut alone = Self { ahead, charge, frame: Some(rest.frame), body: rest.body };
        for _ in 0..index {
            alone.kept();
        }
        alone
    }

    /// The next frame of those that were kept; it is not any more.
    fn kept(&mut self) -> Option<SharedFrame> {
        let frame = self.ahead.next()?;
        self.charge.shrink(frame.size());
        Some(frame)
    }
}

impl<B> Alone<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.kept() {
            return Poll::Ready(Some(Ok(frame.into_frame())));
        }
        self.charge.clear();
        if let Some(frame) = self.frame.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(polled, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(polled.map(|frame| frame.map_err(Into::into)))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ahead.as_slice().is_empty()
            && self.frame.is_none()
            && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_slice().iter().map(SharedFrame::length);
        let frame = self.frame.as_ref().and_then(Frame::data_ref);
        let frame = frame.map_or(0, |data| data.len().try_into().unwrap_or(u64::MAX));
        let known = ahead.fold(frame, u64::saturating_add);
        let rest = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(known));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(known));
        }
        hint
    }
}

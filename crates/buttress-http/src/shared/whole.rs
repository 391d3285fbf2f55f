use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::frame::{SharedFrame, weight};

/// A body of which everything is there.
#[derive(Debug)]
pub(crate) struct Whole {
    frames: Vec<SharedFrame>,
    hint: SizeHint,
}

impl Whole {
    pub(super) fn new(frames: Vec<SharedFrame>, hint: SizeHint) -> Self {
        Self { frames, hint }
    }

    /// How many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        weight(&self.frames)
    }

    pub(super) fn frame(&self, index: usize) -> Option<Frame<Bytes>> {
        Some(self.frames.get(index)?.clone().into_frame())
    }

    pub(super) fn is_read(&self, index: usize) -> bool {
        index >= self.frames.len()
    }

    pub(super) fn hint(&self, index: usize) -> SizeHint {
        let read = self.frames.iter().take(index).map(SharedFrame::length);
        less(&self.hint, read.fold(0, u64::saturating_add))
    }
}

/// The `hint` of a body of which `read` bytes have been read.
pub(super) fn less(hint: &SizeHint, read: u64) -> SizeHint {
    let mut left = SizeHint::new();
    left.set_lower(hint.lower().saturating_sub(read));
    if let Some(upper) = hint.upper() {
        left.set_upper(upper.saturating_sub(read));
    }
    left
}

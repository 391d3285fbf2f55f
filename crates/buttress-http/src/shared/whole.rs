use std::sync::Arc;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::frame::{SharedFrame, copy, weight};

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

    /// The same in memory of its own.
    ///
    /// What a transport hands on are pieces of its read buffers, and a page of one KiB that is kept for
    /// long would keep a buffer of eight.
    pub(super) fn apart(&self) -> Self {
        let length = self.frames.iter().filter_map(SharedFrame::data).map(Bytes::len).sum();
        let mut data = Vec::with_capacity(length);
        let mut frames = Vec::with_capacity(2);
        self.frames
            .iter()
            .filter_map(SharedFrame::data)
            .for_each(|piece| data.extend_from_slice(piece));
        if !data.is_empty() {
            frames.push(SharedFrame::Data(data.into()));
        }
        let trailers = self.frames.iter().filter_map(SharedFrame::trailers);
        frames.extend(trailers.map(|trailers| SharedFrame::Trailers(Arc::new(copy(trailers)))));
        Self { frames, hint: self.hint }
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

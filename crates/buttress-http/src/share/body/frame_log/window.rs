use std::{collections::VecDeque, mem};

use crate::share::body::{byte_reservation::ByteReservation, frame::SharedFrame};

/// The frames held for the readers of a body, and the number of readers at each.
///
/// At first the window holds all frames. Once there is no room for the next, the window moves:
/// each frame is dropped after its last reader.
#[derive(Debug)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// The number of frames dropped at the front.
    start: usize,
    /// The number of readers that have read every frame so far.
    ahead: usize,
    reservation: ByteReservation,
    cap: usize,
    moves: bool,
}

#[derive(Debug)]
struct Slot {
    frame: SharedFrame,
    /// The number of readers that read this frame next. Above 0 in the first slot of a moving
    /// window.
    readers: usize,
}

impl Window {
    pub(super) const fn new(cap: usize, reservation: ByteReservation) -> Self {
        Self { slots: VecDeque::new(), start: 0, ahead: 0, reservation, cap, moves: false }
    }

    /// Whether the body exceeds the limit.
    pub(super) const fn moves(&self) -> bool {
        self.moves
    }

    /// The index of the first frame held.
    pub(super) const fn start(&self) -> usize {
        self.start
    }

    /// The index of the next frame to come.
    pub(super) fn end(&self) -> usize {
        self.start + self.slots.len()
    }

    /// Whether no reader needs a frame, present or future.
    pub(super) fn is_deserted(&self) -> bool {
        self.slots.is_empty() && self.ahead == 0
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &SharedFrame> {
        self.slots.iter().map(|slot| &slot.frame)
    }

    /// Adds `readers` that read the frame `index` next.
    pub(super) fn enter(&mut self, index: usize, readers: usize) {
        if let Some(count) = self.readers(index) {
            *count += readers;
        }
    }

    /// Removes a reader that reads the frame `index` next. Call [`free`](Self::free) afterwards.
    pub(super) fn leave(&mut self, index: usize) {
        if let Some(count) = self.readers(index) {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns the frame `index` to a reader, which moves on.
    pub(super) fn read(&mut self, index: usize) -> Option<SharedFrame> {
        let slot = self.slots.get_mut(index.checked_sub(self.start)?)?;
        slot.readers = slot.readers.saturating_sub(1);
        let is_last = self.moves && index == self.start && slot.readers == 0;
        // The last reader takes the frame itself, which saves a clone.
        let copy = if is_last { None } else { Some(slot.frame.clone()) };
        self.enter(index + 1, 1);
        // After the reader has moved on. Otherwise the first slot could be left without a reader.
        copy.or_else(|| self.pop())
    }

    /// Whether there is room for a frame of `size` bytes. An empty moving window has room for any
    /// frame.
    pub(super) fn has_room(&self, size: usize) -> bool {
        let is_empty = self.moves && self.slots.is_empty();
        is_empty || (self.excess() == 0 && self.reservation.shortage(size, self.cap) == 0)
    }

    /// Reserves room for a frame of `size` bytes. `false` if there is none.
    pub(super) fn reserve(&mut self, size: usize) -> bool {
        if self.excess() == 0 && self.reservation.grow(size, self.cap) {
            return true;
        }
        // An empty window must take the next frame, or a frame longer than the cap would stop the
        // body for good.
        let is_empty = self.moves && self.slots.is_empty();
        if is_empty {
            self.reservation.overdraw(size);
        }
        is_empty
    }

    /// Appends a frame that room was reserved for.
    pub(super) fn push(&mut self, frame: SharedFrame) {
        // Each reader that is not lost counts in a single slot, or in `ahead`. The readers in front
        // all need this frame now.
        self.slots.push_back(Slot { frame, readers: mem::take(&mut self.ahead) });
    }

    /// The index of the first frame that may stay if a frame of `size` bytes needs room.
    pub(super) fn bound(&self, size: usize) -> usize {
        let mut shortage = self.reservation.shortage(size, self.cap);
        let mut frames = self.excess();
        let leaves = |slot: &&Slot| {
            let leaves = shortage > 0 || frames > 0;
            shortage = shortage.saturating_sub(slot.frame.size());
            frames = frames.saturating_sub(1);
            leaves
        };
        self.start + self.slots.iter().take_while(leaves).count()
    }

    /// Makes the window move.
    pub(super) const fn begin_to_move(&mut self) {
        self.moves = true;
    }

    /// Takes out the frames that no reader needs. The caller drops them with no lock held, because
    /// the bytes of a frame are foreign code.
    pub(super) fn free(&mut self, freed: &mut Vec<SharedFrame>) {
        while self.moves && self.slots.front().is_some_and(|slot| slot.readers == 0) {
            freed.extend(self.pop());
        }
    }

    /// Takes out all frames, to be dropped with no lock held. No reader receives another.
    pub(super) fn clear(&mut self, freed: &mut Vec<SharedFrame>) {
        // `start` moves up to `end`, so no reader finds a frame at its index.
        // `FrameLog::next_frame` then answers by the state.
        while let Some(frame) = self.pop() {
            freed.push(frame);
        }
        self.reservation.clear();
    }

    fn pop(&mut self) -> Option<SharedFrame> {
        let Slot { frame, .. } = self.slots.pop_front()?;
        self.start += 1;
        // The bytes return to the budget before `frame` is dropped, because the drop waits until
        // the log's lock is released.
        self.reservation.shrink(frame.size());
        Some(frame)
    }

    fn readers(&mut self, index: usize) -> Option<&mut usize> {
        if index == self.end() {
            return Some(&mut self.ahead);
        }
        let slot = self.slots.get_mut(index.checked_sub(self.start)?)?;
        Some(&mut slot.readers)
    }

    /// The number of frames over the limit, with one more.
    fn excess(&self) -> usize {
        let most = (self.cap / PER_FRAME).saturating_add(FRAMES);
        (self.slots.len() + 1).saturating_sub(most)
    }
}

/// A body of `cap` bytes may have this many frames, and another for each [`PER_FRAME`] bytes. So
/// the overhead of frames stays in proportion.
const FRAMES: usize = 1024;
const PER_FRAME: usize = 64;

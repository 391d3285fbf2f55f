use buttress_control::Nanos;
use buttress_state::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// The cells that a replica holds of a shared rate: two grants, each with the time at which it ends.
///
/// A slot is one atomic word, so a call takes its cells without a lock. Grants are put into a slot
/// under the lock of the law. The cells of two grants are never merged, because each ends at its own
/// time.
#[derive(Debug)]
pub(crate) struct LeaseSlots {
    words: [AtomicU64; 2],
    /// The slot to take from first. A hint: every call finds the cells of both slots.
    current: AtomicU32,
}

/// The cells that a call took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The cells left in both slots.
    pub(crate) left: u32,
    /// Whether the other slot was empty, so that a grant has room.
    pub(crate) has_room: bool,
}

impl LeaseSlots {
    pub(crate) fn new() -> Self {
        Self { words: [AtomicU64::new(0), AtomicU64::new(0)], current: AtomicU32::new(0) }
    }

    /// Takes cells of a single slot: of the current one, or else of the next one.
    #[inline]
    pub(crate) fn take(&self, now: Nanos, cells: u32) -> Option<Taken> {
        let current = self.current.load(Relaxed);
        let (first, second) = self.in_order(current);
        if let Some(left) = take_of(first, now, cells) {
            let other = second.load(Relaxed);
            let more = live(other, now);
            return Some(Taken { left: left + more, has_room: more == 0 });
        }
        let left = take_of(second, now, cells)?;
        let more = live(first.load(Relaxed), now);
        if more == 0 {
            // The next slot becomes the current one. Another call may do the same at the same time.
            self.current.store(current ^ 1, Relaxed);
        }
        Some(Taken { left: left + more, has_room: more == 0 })
    }

    /// Takes cells of both slots together, all of them or none. Returns the time at which the first
    /// of them ends.
    pub(crate) fn take_of_both(&self, now: Nanos, cells: u32) -> Option<Nanos> {
        let (first, second) = self.in_order(self.current.load(Relaxed));
        let (of_first, first_ends) = take_up_to(first, now, cells);
        let (of_second, second_ends) = take_up_to(second, now, cells - of_first);
        if of_first + of_second == cells {
            return Some(if of_second == 0 {
                first_ends
            } else if of_first == 0 {
                second_ends
            } else {
                first_ends.min(second_ends)
            });
        }
        // A call that came meanwhile found fewer cells, and asks the store like this one.
        give_back(first, of_first, first_ends);
        give_back(second, of_second, second_ends);
        None
    }

    /// Puts a grant into an empty slot, or into the slot with the fewest cells. Returns the cells
    /// that were dropped.
    pub(crate) fn put(&self, now: Nanos, cells: u32, ends: Nanos) -> u32 {
        let held = |word: &AtomicU64| live(word.load(SeqCst), now);
        let [first, second] = &self.words;
        let slot = if held(first) <= held(second) { first } else { second };
        let former = slot.swap(word(cells, ends), SeqCst);
        cells_of(former)
    }

    /// Returns unused cells to the slot of their grant, if it still holds that grant, or to an empty
    /// slot. Returns whether the cells can be taken again.
    pub(crate) fn put_back(&self, now: Nanos, cells: u32, ends: Nanos) -> bool {
        let is_live = live(word(cells, ends), now) > 0;
        is_live && self.words.iter().any(|slot| give_back(slot, cells, ends))
    }

    /// Drops the cells that have ended. Returns their number.
    pub(crate) fn drop_ended(&self, now: Nanos) -> u32 {
        let ended = |slot: &AtomicU64| {
            let seen = slot.load(SeqCst);
            let is_over = seen != 0 && live(seen, now) == 0;
            // A call may have taken of the slot since, if its clock is behind.
            let is_dropped = is_over && slot.compare_exchange(seen, 0, SeqCst, Relaxed).is_ok();
            if is_dropped { cells_of(seen) } else { 0 }
        };
        self.words.iter().map(ended).sum()
    }

    /// Returns the number of cells that are held and live.
    pub(crate) fn held(&self, now: Nanos) -> u32 {
        self.words.iter().map(|slot| live(slot.load(SeqCst), now)).sum()
    }

    fn in_order(&self, current: u32) -> (&AtomicU64, &AtomicU64) {
        let [first, second] = &self.words;
        if current == 0 { (first, second) } else { (second, first) }
    }
}

/// Takes cells if the slot holds them and they live. Returns the cells left.
// SeqCst as in `give_back` and `put`: the word is complete in itself, and orders no other memory.
#[inline]
fn take_of(slot: &AtomicU64, now: Nanos, cells: u32) -> Option<u32> {
    let mut seen = slot.load(Relaxed);
    loop {
        let left = live(seen, now).checked_sub(cells)?;
        match slot.compare_exchange_weak(seen, seen - u64::from(cells), SeqCst, Relaxed) {
            Ok(_) => return Some(left),
            Err(now_seen) => seen = now_seen,
        }
    }
}

fn take_up_to(slot: &AtomicU64, now: Nanos, cells: u32) -> (u32, Nanos) {
    let mut seen = slot.load(Relaxed);
    loop {
        let taken = live(seen, now).min(cells);
        match slot.compare_exchange(seen, seen - u64::from(taken), SeqCst, Relaxed) {
            Ok(_) => return (taken, ends_of(seen)),
            Err(now_seen) => seen = now_seen,
        }
    }
}

/// Adds cells to the slot of their grant, or to a slot without cells.
fn give_back(slot: &AtomicU64, cells: u32, ends: Nanos) -> bool {
    if cells == 0 {
        return true;
    }
    let mut seen = slot.load(Relaxed);
    loop {
        let next = if cells_of(seen) == 0 {
            word(cells, ends)
        } else if ends_of(seen) == ends_of(word(0, ends)) {
            word(cells_of(seen).saturating_add(cells), ends)
        } else {
            return false;
        };
        match slot.compare_exchange(seen, next, SeqCst, Relaxed) {
            Ok(_) => return true,
            Err(now_seen) => seen = now_seen,
        }
    }
}

/// 44 bits of the end, in steps of 2¹⁶ ns, then 20 bits of cells. The end is rounded down.
#[inline]
const fn word(cells: u32, ends: Nanos) -> u64 {
    let cells = if cells < MAX_CELLS { cells } else { MAX_CELLS };
    let steps = ends.get() >> STEP_BITS;
    let steps = if steps < MAX_STEPS { steps } else { MAX_STEPS };
    steps << CELL_BITS | cells as u64
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "20 bits")]
const fn cells_of(word: u64) -> u32 {
    (word & MAX_CELLS as u64) as u32
}

#[inline]
const fn ends_of(word: u64) -> Nanos {
    Nanos::new((word >> CELL_BITS) << STEP_BITS)
}

/// The cells of a slot, or 0 if they have ended.
#[inline]
const fn live(word: u64, now: Nanos) -> u32 {
    if now.get() < ends_of(word).get() { cells_of(word) } else { 0 }
}

const CELL_BITS: u32 = 20;
const STEP_BITS: u32 = 16;
const MAX_CELLS: u32 = (1 << CELL_BITS) - 1;
const MAX_STEPS: u64 = (1 << 44) - 1;

//! A sliding window of slots. The events of a slot are dropped together.

use std::time::Duration;

use crate::Nanos;
use crate::numbers::nanos::saturating_nanos;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Turns a time into the number of its slot, without a division.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    /// 2^64 over the length of a slot.
    reciprocal: u64,
}

impl Ticks {
    /// Slots of such a length that all but one of them cover `window`. So the window may begin
    /// anywhere inside a slot, and the events of that slot still count for the whole window.
    pub(crate) fn covering(window: Duration) -> Self {
        let slot = saturating_nanos(window).div_ceil(SLOTS - 1).max(1);
        Self { reciprocal: u64::MAX / slot }
    }

    #[inline]
    pub(crate) fn at(self, now: Nanos) -> u64 {
        // The product needs 128 bits. Its upper half is the quotient, which fits into 64.
        ((u128::from(now.get()) * u128::from(self.reciprocal)) >> 64) as u64
    }
}

/// Counts events per slot, without a lock.
///
/// A word holds the count and its turn: how often the ring has gone round. So no thread has to
/// empty a slot. The first event of a new turn replaces the whole word.
///
/// All orderings are relaxed, because each word is complete in itself and orders no other memory.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct WindowCounts {
    words: [AtomicU64; RING],
}

impl WindowCounts {
    pub(crate) fn new() -> Self {
        Self { words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    #[inline]
    pub(crate) fn add(&self, tick: u64) {
        self.add_many(tick, 1);
    }

    #[inline]
    pub(crate) fn add_many(&self, tick: u64, events: u64) {
        let events = events.min(MAX_COUNT);
        let Some(slot) = self.words.get(position(tick)) else {
            return;
        };
        let turn = tick / SLOTS;
        let mut word = slot.load(Relaxed);
        loop {
            // The whole word is replaced in a compare-and-swap, so no event is added to the count
            // of another turn. A word that is a turn ahead comes from a thread that read the clock
            // a moment later, so its slot is the current one.
            let current = (word >> COUNT_BITS).wrapping_sub(turn) <= 1;
            let room = if current { MAX_COUNT - (word & MAX_COUNT) } else { MAX_COUNT };
            if room == 0 {
                return;
            }
            let before = if current { word } else { turn << COUNT_BITS };
            let next = before + events.min(room);
            match slot.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
    }

    /// Removes an event from the newest slot of the window that has one, and returns the slot.
    pub(crate) fn remove(&self, tick: u64) -> Option<u64> {
        let oldest = tick.saturating_sub(SLOTS - 1);
        (oldest..=tick).rev().find(|tick| self.remove_at(*tick))
    }

    /// The events in the window that ends with this slot.
    pub(crate) fn sum(&self, tick: u64) -> u64 {
        // A slot may be ahead of `tick`, from a thread that read the clock later. It counts too.
        let live = |(position, slot): (u64, &AtomicU64)| {
            let word = slot.load(Relaxed);
            let at = (word >> COUNT_BITS) * SLOTS + position;
            if at.abs_diff(tick) < SLOTS { word & MAX_COUNT } else { 0 }
        };
        (0..).zip(&self.words).map(live).sum()
    }

    /// The events in the slots of the window before this slot.
    pub(crate) fn sum_before(&self, tick: u64) -> u64 {
        (tick.saturating_sub(SLOTS - 1)..tick).map(|tick| self.at(tick)).sum()
    }

    /// The events in this slot.
    #[inline]
    pub(crate) fn at(&self, tick: u64) -> u64 {
        let word = self.words.get(position(tick)).map_or(0, |slot| slot.load(Relaxed));
        if word >> COUNT_BITS == tick / SLOTS { word & MAX_COUNT } else { 0 }
    }

    fn remove_at(&self, tick: u64) -> bool {
        self.words.get(position(tick)).is_some_and(|slot| {
            // Checked in the same operation as the removal: a slot of another turn stays as it is.
            let less = |word| {
                let there = word >> COUNT_BITS == tick / SLOTS && word & MAX_COUNT > 0;
                there.then(|| word - 1)
            };
            slot.fetch_update(Relaxed, Relaxed, less).is_ok()
        })
    }
}

/// Amounts per slot and their sum. The caller's lock protects them.
#[derive(Debug)]
pub(crate) struct Amounts {
    slots: [u64; RING],
    total: u64,
    latest: u64,
}

impl Amounts {
    pub(crate) const fn new() -> Self {
        Self { slots: [0; RING], total: 0, latest: 0 }
    }

    /// Drops the slots that have left the window that ends with this slot. The window never moves
    /// back.
    pub(crate) fn advance(&mut self, tick: u64) {
        let passed = tick.saturating_sub(self.latest);
        // At most one round: after `SLOTS` steps every slot is empty, however long the pause was.
        for step in 1..=passed.min(SLOTS) {
            if let Some(slot) = self.slots.get_mut(position(self.latest + step)) {
                self.total -= std::mem::take(slot);
            }
        }
        self.latest += passed;
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The amount in the latest slot.
    pub(crate) fn latest(&self) -> u64 {
        self.slots.get(position(self.latest)).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, amount: u64) {
        if let Some(slot) = self.slots.get_mut(position(self.latest)) {
            *slot += amount;
            self.total += amount;
        }
    }

    /// Removes an amount from its slot, at most the amount of the slot. A slot that the window has
    /// left, or not reached, does not change.
    pub(crate) fn remove(&mut self, tick: u64, amount: u64) {
        let is_live = self.latest.checked_sub(tick).is_some_and(|age| age < SLOTS);
        if let Some(slot) = self.slots.get_mut(position(tick)).filter(|_| is_live) {
            let taken = amount.min(*slot);
            *slot -= taken;
            self.total -= taken;
        }
    }
}

#[inline]
const fn position(tick: u64) -> usize {
    (tick % SLOTS) as usize
}

/// A power of two. Loom explores every load of a slot, so its window is short.
const RING: usize = if cfg!(buttress_loom) { 4 } else { 32 };

pub(crate) const WINDOW_SLOTS: u64 = RING as u64;

const SLOTS: u64 = WINDOW_SLOTS;

/// The shortest window whose turns fit into the bits beside the count, for every possible time.
pub(crate) const MIN_WINDOW: Duration = Duration::from_millis(20);

/// The maximum count of a slot: 53 million events per second in a window of ten seconds.
const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;

const COUNT_BITS: u32 = 24;

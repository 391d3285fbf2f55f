use crate::Nanos;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::window::{Ticks, WindowCounts};

/// The requests and accepts of the last window.
///
/// All orderings are relaxed: each word is complete in itself. A sum of an older step is found out
/// by the step in its word.
#[derive(Debug)]
pub(crate) struct RequestWindow {
    pub(crate) ticks: Ticks,
    /// The latest step that any thread saw.
    latest: AtomicU64,
    /// The totals before the latest step: see [`WindowTotals::pack`].
    earlier: AtomicU64,
    requests: WindowCounts,
    accepts: WindowCounts,
}

impl RequestWindow {
    pub(crate) fn new(ticks: Ticks) -> Self {
        Self {
            ticks,
            latest: AtomicU64::new(0),
            earlier: AtomicU64::new(0),
            requests: WindowCounts::new(),
            accepts: WindowCounts::new(),
        }
    }

    #[inline]
    pub(crate) fn add_request(&self, tick: u64) {
        self.requests.add(tick);
    }

    #[inline]
    pub(crate) fn add_accept(&self, tick: u64) {
        self.accepts.add(tick);
    }

    /// Removes a request from the newest step that has one.
    pub(crate) fn remove_request(&self, tick: u64) {
        // A request of an earlier step is part of the stored totals, so sum up again.
        if self.requests.remove(tick) != Some(tick) {
            self.sum_up(tick);
        }
    }

    /// The window never moves back, so that no request is counted in a step that has been summed
    /// up.
    #[inline]
    pub(crate) fn latest_tick(&self, now: Nanos) -> u64 {
        self.ticks.at(now).max(self.latest.load(Relaxed))
    }

    #[inline]
    pub(crate) fn totals(&self, tick: u64) -> WindowTotals {
        // Both checks, because the two words are stored one after the other in `sum_up`, and a
        // thread that was slow may have stored the totals of another step.
        let earlier = self.earlier.load(Relaxed);
        let current = self.latest.load(Relaxed) == tick && WindowTotals::is_of(earlier, tick);
        let earlier = if current { WindowTotals::unpack(earlier) } else { self.sum_up(tick) };
        WindowTotals {
            requests: earlier.requests + self.requests.at(tick),
            accepts: earlier.accepts + self.accepts.at(tick),
        }
    }

    #[cold]
    fn sum_up(&self, tick: u64) -> WindowTotals {
        let earlier = WindowTotals {
            requests: self.requests.sum_before(tick),
            accepts: self.accepts.sum_before(tick),
        };
        // A plain store: a thread that is still in an older step may overwrite newer totals. The
        // next call sees the step in the word and sums up again. Counts that a slow thread adds to
        // an earlier step after this sum are found by the sum of the next step.
        self.earlier.store(earlier.pack(tick), Relaxed);
        self.latest.fetch_max(tick, Relaxed);
        earlier
    }
}

/// The numbers of requests and accepts, less than 2^29 of each.
#[derive(Clone, Copy)]
pub(crate) struct WindowTotals {
    pub(crate) requests: u64,
    pub(crate) accepts: u64,
}

impl WindowTotals {
    /// Packs both totals into a word, with the low bits of the step. These bits expose a thread
    /// that was slow to sum up an older step.
    fn pack(&self, tick: u64) -> u64 {
        (tick << (2 * SUM_BITS)) | (self.requests << SUM_BITS) | self.accepts
    }

    #[inline]
    fn is_of(word: u64, tick: u64) -> bool {
        word >> (2 * SUM_BITS) == tick & (u64::MAX >> (2 * SUM_BITS))
    }

    #[inline]
    fn unpack(word: u64) -> Self {
        let mask = (1 << SUM_BITS) - 1;
        Self { requests: (word >> SUM_BITS) & mask, accepts: word & mask }
    }
}

const SUM_BITS: u32 = 29;

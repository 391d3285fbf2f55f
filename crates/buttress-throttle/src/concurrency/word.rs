use std::fmt;

use buttress_state::sync::atomic::{AtomicU64, Ordering};

/// The permits in use and the limit. Every call writes the former and reads the latter, so they
/// share a cache line of their own.
///
/// The number of permits in use and the flag [`WAITING`] share an atomic word. So a permit is taken
/// only if the flag is clear, in the same compare-and-swap.
#[repr(align(128))]
pub(crate) struct PermitWord {
    /// Permits in use, and [`WAITING`].
    word: AtomicU64,
    limit: AtomicU64,
}

impl PermitWord {
    pub(crate) fn new(limit: u32) -> Self {
        Self { word: AtomicU64::new(0), limit: AtomicU64::new(u64::from(limit)) }
    }

    /// Takes a permit if fewer than the limit and `extra` are in use and no call waits. Returns how
    /// many are in use then.
    #[inline]
    pub(crate) fn take(&self, extra: u32) -> Option<u32> {
        let limit = self.limit.load(Ordering::Relaxed) + u64::from(extra);
        let mut word = self.word.load(Ordering::Relaxed);
        // While `WAITING` is set, the word is above every limit. Relaxed loads suffice: `replace`
        // fails if the word has changed, and a stale limit only admits as an earlier call would.
        while word < limit {
            match self.replace(word, word + 1) {
                Ok(next) => return Some(in_use(next)),
                Err(seen) => word = seen,
            }
        }
        None
    }

    /// Takes a permit for the first waiter, whether or not [`WAITING`] is set.
    pub(crate) fn take_for_waiter(&self) -> bool {
        // Acquire, paired with the release in `give_back` and `set_limit`: the waiter's call sees
        // the memory of the call that returned the permit.
        let limit = self.limit.load(Ordering::Acquire);
        let mut word = self.word.load(Ordering::Acquire);
        while word & !WAITING < limit {
            match self.replace(word, word + 1) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
        false
    }

    /// Takes a permit, or sets [`WAITING`]. From then on every call that returns a permit looks at
    /// the queue.
    pub(crate) fn take_or_set_waiting(&self) -> Option<u32> {
        let limit = self.limit.load(Ordering::Acquire);
        let mut word = self.word.load(Ordering::Acquire);
        // A single compare-and-swap decides: a permit returned in between makes it fail. So no
        // waiter enqueues behind a free permit that no call would hand over. A limit raised in
        // between is missed here. `grant_waiters`, which must follow `set_limit`, then finds the
        // call under the lock of the queue.
        loop {
            let free = word & !WAITING < limit;
            match self.replace(word, if free { word + 1 } else { word | WAITING }) {
                Ok(next) => return free.then(|| in_use(next)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Whether permits are handed over under the lock of the queue.
    #[inline]
    pub(crate) fn is_waiting_set(&self) -> bool {
        // Acquire, paired with `replace` in `take_or_set_waiting`. The answer may be stale at once:
        // only the operations on `word` that change it decide.
        self.word.load(Ordering::Acquire) & WAITING != 0
    }

    /// Returns a permit, and returns whether a call waits for a permit.
    #[inline]
    pub(crate) fn give_back(&self) -> bool {
        // Release: what this call did happens before the next call that takes this permit. The same
        // operation reads `WAITING`, so a waiter that set the flag before is not missed.
        self.word.fetch_sub(1, Ordering::AcqRel) & WAITING != 0
    }

    /// Lets calls take permits without a look at the queue. Returns whether the flag was set.
    pub(crate) fn clear_waiting(&self) -> bool {
        // A load first, because the flag is mostly clear and a load does not claim the cache line.
        // The flag cannot be set in between: its only writers hold the lock of the queue.
        self.word.load(Ordering::Acquire) & WAITING != 0
            && self.word.fetch_and(!WAITING, Ordering::AcqRel) & WAITING != 0
    }

    /// Sets the limit, and returns whether the limit was raised.
    pub(crate) fn set_limit(&self, limit: u32) -> bool {
        // Release, paired with the acquire loads of `limit` in `take_for_waiter` and
        // `take_or_set_waiting`. A swap, so that of two concurrent changes each sees the limit that
        // it replaces, and a raise is never missed.
        self.limit.swap(u64::from(limit), Ordering::AcqRel) < u64::from(limit)
    }

    #[inline]
    pub(crate) fn limit(&self) -> u32 {
        // Relaxed, as in `in_use`: the number is reported, or measures a call, and admits none.
        u32::try_from(self.limit.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    pub(crate) fn in_use(&self) -> u32 {
        in_use(self.word.load(Ordering::Relaxed))
    }

    #[inline]
    fn replace(&self, word: u64, next: u64) -> Result<u64, u64> {
        self.word
            .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| next)
    }
}

impl fmt::Debug for PermitWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitWord")
            .field("in_use", &self.in_use())
            .field("limit", &self.limit())
            .finish()
    }
}

#[inline]
fn in_use(word: u64) -> u32 {
    u32::try_from(word & !WAITING).unwrap_or(u32::MAX)
}

/// Set while calls wait: permits are handed over under the lock of the queue.
const WAITING: u64 = 1 << 63;

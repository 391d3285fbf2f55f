use std::fmt;

use buttress_core::Criticality;

use crate::{
    limit::CountsByCriticality,
    sync::atomic::{AtomicU64, Ordering},
};

/// How many permits are out, and how many there may be: what every call touches, on a cache line of
/// its own.
#[repr(align(128))]
pub(crate) struct PermitWord {
    /// Permits that are out, and [`WAITING`].
    word: AtomicU64,
    limit: AtomicU64,
    admitted: CountsByCriticality,
}

impl PermitWord {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            word: AtomicU64::new(0),
            limit: AtomicU64::new(u64::from(limit)),
            admitted: CountsByCriticality::new(),
        }
    }

    /// Takes a permit if fewer than the limit and `extra` are out and nobody waits, and says how many
    /// are out then.
    #[inline]
    pub(crate) fn take(&self, extra: u32) -> Option<u32> {
        let limit = self.limit.load(Ordering::Relaxed) + u64::from(extra);
        let mut word = self.word.load(Ordering::Relaxed);
        // With the mark the word is above every limit.
        while word < limit {
            match self.replace(word, word + 1) {
                Ok(next) => return Some(in_use(next)),
                Err(seen) => word = seen,
            }
        }
        None
    }

    /// Takes a permit for somebody in line.
    pub(crate) fn take_for_waiter(&self) -> bool {
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

    /// Takes a permit, or leaves the mark that makes everybody who gives one back look at the line.
    pub(crate) fn take_or_set_waiting(&self) -> Option<u32> {
        let limit = self.limit.load(Ordering::Acquire);
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let free = word & !WAITING < limit;
            match self.replace(word, if free { word + 1 } else { word | WAITING }) {
                Ok(next) => return free.then(|| in_use(next)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Whether permits are handed over under the line's lock.
    #[inline]
    pub(crate) fn is_waiting_set(&self) -> bool {
        self.word.load(Ordering::Acquire) & WAITING != 0
    }

    /// Gives one back, and says whether somebody waits for it.
    #[inline]
    pub(crate) fn give_back(&self) -> bool {
        self.word.fetch_sub(1, Ordering::AcqRel) & WAITING != 0
    }

    /// Lets permits be taken again without a look at the line. Whether they could not be.
    pub(crate) fn clear_waiting(&self) -> bool {
        // Looked at first: mostly there is no mark, and nothing to write.
        self.word.load(Ordering::Acquire) & WAITING != 0
            && self.word.fetch_and(!WAITING, Ordering::AcqRel) & WAITING != 0
    }

    /// Sets how many there may be, and says whether that is more than before.
    pub(crate) fn set_limit(&self, limit: u32) -> bool {
        self.limit.swap(u64::from(limit), Ordering::AcqRel) < u64::from(limit)
    }

    #[inline]
    pub(crate) fn limit(&self) -> u32 {
        u32::try_from(self.limit.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    pub(crate) fn in_use(&self) -> u32 {
        in_use(self.word.load(Ordering::Relaxed))
    }

    /// Counts a call that got one.
    #[inline]
    pub(crate) fn admit(&self, criticality: Criticality) {
        self.admitted.add(criticality);
    }

    pub(crate) fn admitted(&self) -> [u64; 4] {
        self.admitted.counts()
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

/// Somebody waits: permits are handed over under the line's lock.
const WAITING: u64 = 1 << 63;

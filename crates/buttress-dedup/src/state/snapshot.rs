use crate::StoreCounts;

/// The numbers of a [`DedupHandle`](crate::DedupHandle) at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DedupSnapshot {
    /// [`DedupHandle::calls`](crate::DedupHandle::calls).
    pub calls: u64,
    /// [`DedupHandle::leaders`](crate::DedupHandle::leaders).
    pub leaders: u64,
    /// [`DedupHandle::followers`](crate::DedupHandle::followers).
    pub followers: u64,
    /// [`DedupHandle::bypassed`](crate::DedupHandle::bypassed).
    pub bypassed: u64,
    /// [`DedupHandle::handovers`](crate::DedupHandle::handovers).
    pub handovers: u64,
    /// [`DedupHandle::cache_hits`](crate::DedupHandle::cache_hits).
    pub cache_hits: u64,
    /// [`DedupHandle::stale_hits`](crate::DedupHandle::stale_hits).
    pub stale_hits: u64,
    /// [`DedupHandle::refreshes`](crate::DedupHandle::refreshes).
    pub refreshes: u64,
    /// [`DedupHandle::panics`](crate::DedupHandle::panics).
    pub panics: u64,
    /// [`DedupHandle::in_flight`](crate::DedupHandle::in_flight).
    pub in_flight: usize,
    /// [`DedupHandle::waiters`](crate::DedupHandle::waiters).
    pub waiters: usize,
    /// [`DedupHandle::cache_entries`](crate::DedupHandle::cache_entries).
    pub cache_entries: usize,
    /// [`DedupHandle::cache_bytes`](crate::DedupHandle::cache_bytes).
    pub cache_bytes: u64,
    /// Reads of a [coordinated store](crate::Store::IS_COORDINATED) that found an entry. See
    /// [`StoreCounts`](crate::StoreCounts) for this number and the next five.
    pub store_hits: u64,
    /// Reads after which this process made the call for all others.
    pub store_leads: u64,
    /// Reads that waited for the call of another process.
    pub store_waits: u64,
    /// Reads after which this process made a call for itself alone.
    pub store_alone: u64,
    /// Results that the store did not take, because they had been invalidated meanwhile.
    pub superseded: u64,
    /// Operations of the store that failed.
    pub store_errors: u64,
}

impl DedupSnapshot {
    pub(crate) fn add_store(&mut self, counts: StoreCounts) {
        let StoreCounts { hits, leads, waits, alone, superseded, errors } = counts;
        self.store_hits += hits;
        self.store_leads += leads;
        self.store_waits += waits;
        self.store_alone += alone;
        self.superseded += superseded;
        self.store_errors += errors;
    }
}

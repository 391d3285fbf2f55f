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
}

/// The numbers of a store that several processes share. See [`Store::counts`](crate::Store::counts).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCounts {
    /// Reads that found an entry.
    pub hits: u64,
    /// Reads after which this process made the call for all others.
    pub leads: u64,
    /// Reads that waited for the call of another process. Such a read also counts as what it ends
    /// with.
    pub waits: u64,
    /// Reads after which this process made a call for itself alone.
    pub alone: u64,
    /// Results that the store did not take, because they had been invalidated meanwhile.
    pub superseded: u64,
    /// Operations that failed.
    pub errors: u64,
}

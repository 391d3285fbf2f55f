/// The numbers of a store's client. Not atomic across its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSnapshot {
    /// Operations begun, with those that failed at once.
    pub operations: u64,
    /// Operations that failed with [`Timeout`](super::StoreErrorKind::Timeout).
    pub timeouts: u64,
    /// Operations that failed with [`Unavailable`](super::StoreErrorKind::Unavailable).
    pub unavailable: u64,
    /// Operations that failed with [`Rejected`](super::StoreErrorKind::Rejected).
    pub rejected: u64,
    /// Operations that failed with [`Corrupt`](super::StoreErrorKind::Corrupt).
    pub corrupt: u64,
    /// Connections established.
    pub connections: u64,
    /// Whether a connection stands now.
    pub is_connected: bool,
    /// Circuits that are open now. While a circuit is open, the operations on its part of the store
    /// fail at once.
    pub open_circuits: usize,
}

use buttress_control::{Nanos, Reservation};

/// Cells that were taken for a call.
#[derive(Debug)]
pub struct FleetGrant {
    pub(super) cells: u32,
    pub(super) source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    /// A grant of the store, until this time.
    Leased(Nanos),
    /// The policy for the time without the store.
    Owed(Option<Reservation>),
    /// No rate limits calls.
    Free,
}

impl FleetGrant {
    pub(super) const fn leased(cells: u32, ends: Nanos) -> Self {
        Self { cells, source: Source::Leased(ends) }
    }

    pub(super) const fn free() -> Self {
        Self { cells: 0, source: Source::Free }
    }

    pub(super) const fn owed(cells: u32, share: Option<Reservation>) -> Self {
        Self { cells, source: Source::Owed(share) }
    }
}

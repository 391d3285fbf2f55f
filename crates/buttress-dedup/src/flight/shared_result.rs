use buttress_core::Progress;

/// The result of a flight, as far as the flight itself uses it.
pub(crate) trait SharedResult {
    /// Whether results are ever cached. If not, flights have no valid flags.
    const CACHES: bool;

    /// How much of the response has arrived.
    fn progress(&self) -> Progress;

    /// Announces a further caller of the response.
    fn expect_caller(&self);

    /// Drops a response in progress, because no member is left.
    fn abandon(&self);

    /// Drops an outcome that only the leader may take, because the leader has left.
    fn drop_leaders_outcome(&self);

    /// Writes the complete response to the cache. Returns whether later calls can find it.
    fn store(&self) -> bool;
}

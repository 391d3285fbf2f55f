use buttress_core::Progress;

/// The result of a flight, as far as the flight itself uses it.
pub(crate) trait SharedResult {
    /// Whether results are ever cached. If not, flights have no valid flags.
    const CACHES: bool;

    /// Whether every response is complete when its head arrives, so that no caller has to be announced.
    const IS_COMPLETE: bool;

    /// How much of the response has arrived.
    fn progress(&self) -> Progress;

    /// Announces further callers of the response.
    fn expect_callers(&self, callers: usize);

    /// Drops a response in progress, because no member is left.
    fn abandon(&self);

    /// Drops an outcome that only the leader may take, because the leader has left.
    fn drop_leaders_outcome(&self);

    /// Writes the complete response to the cache. Returns whether later calls can find it.
    fn store(&self) -> bool;

    /// Tells the store that it will not get this result.
    fn decline(&self);
}

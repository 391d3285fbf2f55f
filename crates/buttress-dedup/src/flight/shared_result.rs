use buttress_core::Progress;

/// What a flight came to, as far as the flight is concerned with it.
pub(crate) trait SharedResult {
    /// Whether answers are ever kept. Where they are not, there are no flags.
    const CACHES: bool;

    /// How much of it is there.
    fn progress(&self) -> Progress;

    /// One more comes for it.
    fn expect_caller(&self);

    /// Nobody wants it any more.
    fn abandon(&self);

    /// All of it is there. Puts it where later calls find it; whether there is such a place.
    fn store(&self) -> bool;
}

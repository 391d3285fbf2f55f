//! Settings that several layers have under the same names.

/// How long a layer controls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Until the response head arrives, as `until_head()` sets.
    UntilHead,
    /// Until the response body ends.
    UntilEnd,
}

/// Whether a layer acts on its decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// The layer acts.
    Enforce,
    /// The layer changes nothing, and counts and reports its decisions, as `observe()` sets.
    Observe,
}

/// The services that share the state of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateScope {
    /// All services that the layer makes.
    PerLayer,
    /// The clones of one service only, as `per_service()` sets.
    PerService,
}

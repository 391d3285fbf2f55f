//! Choices that several layers offer, under one name each.

/// How long the control of a call lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Until the response head, as `until_head()` sets.
    Head,
    /// Until the response body has ended.
    Body,
}

/// Whether a layer acts on its decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// The layer acts.
    Enforce,
    /// The layer counts and reports what it would do, as `observe()` sets, and changes nothing.
    Observe,
}

/// Which services share the state of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateScope {
    /// All services that the layer makes.
    Layer,
    /// Only the clones of one service, as `per_service()` sets.
    Service,
}

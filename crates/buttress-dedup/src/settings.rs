use std::sync::Arc;

use buttress_core::{ByteBudget, Enforcement, Origin, Reason, Rejection, StateScope};

/// The options of a layer, except its keys, its mode and its cache.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) panic_policy: PanicPolicy,
    pub(crate) scope: StateScope,
    pub(crate) enforcement: Enforcement,
    pub(crate) shared_bytes: Arc<ByteBudget>,
    pub(crate) keys: Keys,
    pub(crate) caching: Caching,
}

impl Settings {
    pub(crate) fn new(keys: Keys) -> Self {
        Self {
            origin: Origin::new("dedup"),
            panic_policy: PanicPolicy::Rejected,
            scope: StateScope::PerLayer,
            enforcement: Enforcement::Enforce,
            shared_bytes: Arc::new(ByteBudget::new(MAX_BYTES)),
            keys,
            caching: Caching::Off,
        }
    }

    #[cold]
    pub(crate) fn panicked(&self) -> Rejection {
        Rejection::new(Reason::Panicked, self.origin.clone())
    }

    #[cold]
    pub(crate) fn not_cached(&self) -> Rejection {
        Rejection::new(Reason::NotCached, self.origin.clone())
    }
}

/// Where the keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    OfMode,
    Given,
}

/// Whether responses are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    Off,
    On,
}

/// How the caller that meets a panic proceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PanicPolicy {
    /// The caller gets a rejection.
    Rejected,
    /// The panic resumes in the caller.
    Resumed,
}

/// The default of `max_shared_bytes`: 64 MiB.
const MAX_BYTES: usize = 64 << 20;

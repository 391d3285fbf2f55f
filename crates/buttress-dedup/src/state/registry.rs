use std::{any::Any, sync::OnceLock};

use super::snapshot::DedupSnapshot;

/// The typed states of a layer, found by type.
///
/// A layer does not know the services that it will wrap. Its state has types that only a call knows: the
/// key, the response, the future of the service. So the first call of each combination makes its state,
/// and later calls find the state by type. There is hardly ever a second state.
///
/// The list only grows, and each cell is set once. So a lookup takes no lock.
#[derive(Default)]
pub(crate) struct Registry {
    here: OnceLock<Box<dyn AnyTypedState>>,
    next: OnceLock<Box<Registry>>,
}

/// The operations of a layer's handle on a typed state, independent of the type.
pub(crate) trait AnyTypedState: Any + Send + Sync {
    /// Adds the numbers of this state to `snapshot`.
    fn add_to(&self, snapshot: &mut DedupSnapshot);

    /// Invalidates `key`. Returns false if the key has another type than the keys of this state.
    fn invalidate(&self, key: &dyn Any) -> bool;

    /// Invalidates all entries and flights of a resource.
    fn invalidate_resource(&self, resource: u64);

    fn invalidate_all(&self);

    /// Whether the cache has a store that several processes share.
    fn has_coordinated_store(&self) -> bool;
}

impl Registry {
    /// Returns the state of type `T`. The first call makes it.
    #[inline]
    pub(crate) fn typed_state<T: AnyTypedState>(&self, make: impl FnOnce() -> T) -> &T {
        match self.here.get().and_then(|typed_state| downcast(typed_state.as_ref())) {
            Some(typed_state) => typed_state,
            None => self.search(make),
        }
    }

    pub(crate) fn typed_states(&self) -> impl Iterator<Item = &dyn AnyTypedState> {
        let registries =
            std::iter::successors(Some(self), |registry| registry.next.get().map(AsRef::as_ref));
        registries.filter_map(|registry| registry.here.get().map(AsRef::as_ref))
    }

    #[cold]
    fn search<T: AnyTypedState>(&self, make: impl FnOnce() -> T) -> &T {
        let mut make = Some(make);
        let mut registry = self;
        loop {
            // `make` runs while the cell is locked, and calls `OpenStore::open` of the user. A call of the
            // same layer in there would wait for itself. If `make` panics, the cell stays empty for the
            // next call.
            let typed_state = registry.here.get_or_init(|| match make.take() {
                Some(make) => Box::new(make()),
                // A state made here has type `T`, so the downcast below ends the search.
                None => unreachable!("made twice"),
            });
            if let Some(typed_state) = downcast(typed_state.as_ref()) {
                return typed_state;
            }
            registry = registry.next.get_or_init(Box::default);
        }
    }
}

fn downcast<T: AnyTypedState>(typed_state: &dyn AnyTypedState) -> Option<&T> {
    let typed_state: &dyn Any = typed_state;
    typed_state.downcast_ref()
}

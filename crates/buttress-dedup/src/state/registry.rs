use std::{any::Any, sync::OnceLock};

use super::snapshot::DedupSnapshot;

/// The state of one layer, by its type.
///
/// A layer does not know what it will be put over. Its state has types that only a call knows: the
/// key, the response, the future of the service. So the state of each combination is made by the
/// first call of its kind, and found again by its type; there is hardly ever more than one.
#[derive(Default)]
pub(crate) struct Registry {
    here: OnceLock<Box<dyn AnyTypedState>>,
    next: OnceLock<Box<Registry>>,
}

/// What the handle of a layer does with each part of its state, whatever the type.
pub(crate) trait AnyTypedState: Any + Send + Sync {
    /// Adds the numbers of this part.
    fn add_to(&self, snapshot: &mut DedupSnapshot);

    /// Forgets the key, if it is one of this part's.
    fn invalidate(&self, key: &dyn Any) -> bool;

    /// Forgets everything about a subject.
    fn invalidate_resource(&self, resource: u64);

    fn invalidate_all(&self);
}

impl Registry {
    /// The part of type `T`, made now if this is the first call that asks for it.
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
            let typed_state = registry.here.get_or_init(|| match make.take() {
                Some(make) => Box::new(make()),
                // A part that is made here is of the type that is asked for, and ends the search.
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

use std::{any::Any, sync::OnceLock};

/// The state of one layer, by its type.
///
/// A layer does not know what it will be put over. Its state has types that only a call knows: the
/// key, the response, the future of the service. So the state of each combination is made by the
/// first call of its kind, and found again by its type; there is hardly ever more than one.
#[derive(Default)]
pub(crate) struct Registry {
    here: OnceLock<Box<dyn Part>>,
    next: OnceLock<Box<Registry>>,
}

/// What the handle of a layer does with each part of its state, whatever the type.
pub(crate) trait Part: Any + Send + Sync {
    fn numbers(&self) -> Numbers;

    /// Forgets the key, if it is one of this part's.
    fn forget(&self, key: &dyn Any) -> bool;

    /// Forgets everything about a subject.
    fn outdate(&self, subject: u64);

    fn clear(&self);
}

/// Live numbers of one part.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) flights: usize,
    pub(crate) waiters: usize,
    pub(crate) led: u64,
    pub(crate) joined: u64,
    pub(crate) handed_over: u64,
    pub(crate) kept: usize,
    pub(crate) kept_bytes: u64,
}

impl Numbers {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            flights: self.flights + other.flights,
            waiters: self.waiters + other.waiters,
            led: self.led + other.led,
            joined: self.joined + other.joined,
            handed_over: self.handed_over + other.handed_over,
            kept: self.kept + other.kept,
            kept_bytes: self.kept_bytes + other.kept_bytes,
        }
    }
}

impl Registry {
    /// The part of type `T`, made now if this is the first call that asks for it.
    #[inline]
    pub(crate) fn part<T: Part>(&self, make: impl FnOnce() -> T) -> &T {
        match self.here.get().and_then(|part| downcast(part.as_ref())) {
            Some(part) => part,
            None => self.search(make),
        }
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &dyn Part> {
        let registries =
            std::iter::successors(Some(self), |registry| registry.next.get().map(AsRef::as_ref));
        registries.filter_map(|registry| registry.here.get().map(AsRef::as_ref))
    }

    #[cold]
    fn search<T: Part>(&self, make: impl FnOnce() -> T) -> &T {
        let mut make = Some(make);
        let mut registry = self;
        loop {
            let part = registry.here.get_or_init(|| match make.take() {
                Some(make) => Box::new(make()),
                // A part that is made here is of the type that is asked for, and ends the search.
                None => unreachable!("made twice"),
            });
            if let Some(part) = downcast(part.as_ref()) {
                return part;
            }
            registry = registry.next.get_or_init(Box::default);
        }
    }
}

fn downcast<T: Part>(part: &dyn Part) -> Option<&T> {
    let part: &dyn Any = part;
    part.downcast_ref()
}

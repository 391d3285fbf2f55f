use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_control::Random;
use buttress_core::Lifetime;
use tokio::time::Instant;

use super::{
    About, Keeper, Shelf,
    invalidations::{Changes, Version},
};
use crate::{Kept, Store, settings::Ticket};

/// Where the answers of one service are kept.
#[derive(Debug)]
pub struct Place<St> {
    pub(crate) store: St,
    pub(crate) changes: Changes,
    /// The store let a caller wait in vain, and has been slower than the service since.
    pub(crate) is_doubtful: AtomicBool,
    pub(crate) random: Random,
}

/// What a flight remembers, to keep its answer.
pub struct Order<K, V, St, X, J> {
    pub(crate) place: Arc<Place<St>>,
    pub(crate) key: K,
    pub(crate) about: About,
    /// How often the subject had changed when the flight began.
    pub(crate) version: Version,
    pub(crate) ticket: Ticket,
    pub(crate) spare: Option<Arc<Kept<V>>>,
    pub(crate) began: Instant,
    pub(crate) expiry: X,
    pub(crate) judged: J,
}

impl<K: Clone, V, St, X, J> Order<K, V, St, X, J> {
    pub(crate) fn is_valid(&self) -> bool {
        self.ticket.load(Ordering::Acquire)
            && self.version == self.place.changes.of(self.about.subject)
    }

    /// Whether its subject has not changed since.
    pub(crate) fn is_current(&self, kept: &Kept<V>) -> bool {
        kept.version == self.place.changes.of(self.about.subject)
    }

    /// What to do with an answer that came at the instant `made`, if it is to be kept.
    pub(crate) fn keep_for(&self, lifetime: Lifetime, made: Instant) -> Option<Kind<K, St>> {
        let windows = lifetime.while_revalidate.max(lifetime.if_error);
        let total = lifetime.fresh.saturating_add(windows);
        if total.is_zero() {
            return None;
        }
        Some(Kind {
            place: Arc::clone(&self.place),
            key: self.key.clone(),
            about: self.about,
            version: self.version,
            ticket: Arc::clone(&self.ticket),
            made,
            took: made.saturating_duration_since(self.began),
            lifetime,
        })
    }
}

/// Keeps an answer, if it is to be kept.
pub struct Keeping<K, St>(pub(crate) Option<Kind<K, St>>);

/// How it is to be kept.
pub(crate) struct Kind<K, St> {
    place: Arc<Place<St>>,
    key: K,
    about: About,
    version: Version,
    ticket: Ticket,
    /// When the answer came. What is on its way still grows older from then on.
    made: Instant,
    took: Duration,
    lifetime: Lifetime,
}

impl<K, St> Kind<K, St> {
    /// Whether nobody had it forgotten before it was there, and its subject has not changed.
    fn is_valid(&self) -> bool {
        self.ticket.load(Ordering::Acquire)
            && self.version == self.place.changes.of(self.about.subject)
    }
}

impl<K, V, St> Keeper<V> for Keeping<K, St>
where
    K: Clone + Send + Sync + 'static,
    St: Store<K, V>,
{
    fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    fn keep(&self, value: impl FnOnce() -> (V, usize)) -> bool {
        let Some(kind) = self.0.as_ref().filter(|kind| kind.is_valid()) else { return false };
        let Kind { place, key, about, version, ticket, made, took, lifetime } = kind;
        let (value, weight) = value();
        let weight = weight.saturating_add(about.weight);
        let kept = Kept::made_at(*made, value, *lifetime, *took, weight);
        let kept = kept.of(*version, Arc::clone(ticket));
        place.store.put(key.clone(), Arc::new(kept));
        // Forgotten meanwhile, by one who did not find it there yet.
        if !kind.is_valid() {
            place.store.remove(key);
        }
        true
    }
}

impl<K, V, St> Shelf<K, V> for Place<St>
where
    St: Store<K, V>,
{
    fn forget(&self, key: &K) {
        self.store.remove(key);
    }

    fn outdate(&self, subject: u64) {
        self.changes.add(subject);
    }

    #[inline]
    fn has_changed(&self) -> bool {
        self.changes.are_any()
    }

    #[inline]
    fn version(&self, subject: Option<u64>) -> Version {
        self.changes.of(subject)
    }

    fn clear(&self) {
        self.store.clear();
    }

    fn kept(&self) -> (usize, u64) {
        self.store.size()
    }
}

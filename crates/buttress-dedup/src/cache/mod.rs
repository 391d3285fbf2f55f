use std::sync::Arc;

use buttress_core::{Ambient, Share, WantedFreshness};

use self::{fetch::Never, invalidations::Invalidations};
use crate::settings::ValidFlag;

mod entry;
mod fetch;
mod invalidations;
mod memory;
mod options;
mod pending;
mod store;

pub(crate) use self::{entry::EntryFreshness, fetch::Fetch, invalidations::ResourceGeneration};
pub use self::{
    entry::{Held, Kept},
    memory::{Memory, MemoryStore},
    options::Keep,
    store::{OpenStore, Store},
};

/// Whether, and where, a layer keeps answers: not at all ([`InFlight`]), or as a [`Keep`]
/// says.
pub trait Policy<M, K, Req, Res, E>: Clone + Send + Sync + 'static
where
    M: Share<Res>,
{
    /// Where answers are kept.
    type Shelf: Shelf<K, Held<M::Shared, E>>;

    /// What a call remembers of its request, to keep the answer.
    type Order: Send + 'static;

    /// An answer on its way from a store.
    type Fetch: Fetch<Output = Option<KeptBy<M, Res, E>>> + Send + 'static;

    /// What an answer needs to be kept once it is whole.
    type Keeper: Keeper<Held<M::Shared, E>>;

    /// Whether there is anything to look up.
    const KEEPS: bool;

    /// A new, empty shelf.
    fn open(&self) -> Self::Shelf;

    /// What is kept for `key`, as fresh as it is `wanted`, if that is anything particular.
    fn look(
        &self,
        shelf: &Self::Shelf,
        key: &K,
        subject: Option<u64>,
        wanted: Option<&WantedFreshness>,
    ) -> Look<KeptBy<M, Res, E>>;

    /// Whether what is kept is as fresh as it is `wanted`, be it in place of a failure.
    fn suits(&self, kept: &KeptBy<M, Res, E>, wanted: Option<&WantedFreshness>) -> bool {
        let _ = (kept, wanted);
        true
    }

    /// What must be remembered of a call that is about to be made, with a `spare` answer for the case
    /// that it fails.
    fn order(
        &self,
        mode: &M,
        shelf: &Arc<Self::Shelf>,
        request: &Req,
        key: &K,
        about: About,
        spare: Option<KeptBy<M, Res, E>>,
    ) -> Self::Order;

    /// What says that the call's answer may be kept, once it is there.
    fn ticket(&self, order: &Self::Order) -> Option<ValidFlag> {
        let _ = order;
        None
    }

    /// Looks further away, if there is such a place.
    fn fetch(&self, order: &Self::Order) -> Option<Self::Fetch>;

    /// Whether the service is not to wait for what is fetched.
    fn doubts(&self, order: &Self::Order) -> bool {
        let _ = order;
        false
    }

    /// What was fetched, and was not waited for, came after the service's answer if it `is_late`.
    fn doubt(&self, order: &Self::Order, is_late: bool) {
        let _ = (order, is_late);
    }

    /// Whether what was fetched may be given out.
    fn accept(&self, order: &Self::Order, kept: &KeptBy<M, Res, E>) -> bool;

    /// On what terms a refresh is made.
    fn refresh_terms(&self) -> Ambient {
        Ambient::current()
    }

    /// Whether whoever asks is the one to refresh `kept`.
    fn claim(&self, kept: &KeptBy<M, Res, E>) -> bool {
        let _ = kept;
        false
    }

    /// What was claimed is not refreshed after all.
    fn disclaim(&self, kept: &KeptBy<M, Res, E>) {
        let _ = kept;
    }

    /// A refresh of `kept` has failed: the next one has to wait.
    fn put_off(&self, shelf: &Self::Shelf, kept: &KeptBy<M, Res, E>) {
        let _ = (shelf, kept);
    }

    /// Whether the outcome is a failure that stands because the request itself
    /// [wanted](About::wanted) no kept answer in its place. Others who wait may want one.
    fn is_for_others_to_spare(
        &self,
        mode: &M,
        order: &Self::Order,
        outcome: Option<Result<&Res, &E>>,
    ) -> bool {
        let _ = (mode, order, outcome);
        false
    }

    /// What is to be kept of an outcome, or given out in its place. `None` stands for a panic.
    fn conclude(
        &self,
        mode: &M,
        order: &Self::Order,
        outcome: Option<Result<&Res, &E>>,
    ) -> Conclusion<Self::Keeper, KeptBy<M, Res, E>>;
}

/// A kept outcome of a service.
pub type KeptBy<M, Res, E> = Arc<Kept<Held<<M as Share<Res>>::Shared, E>>>;

/// What is to be known of a key beside itself.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What it is about, as [`KeyOf::resource`](buttress_core::KeyOf::resource) has it.
    pub subject: Option<u64>,
    /// What it takes, in bytes.
    pub weight: usize,
    /// How fresh a kept answer must be for the request. `None`: any that may be given out.
    pub wanted: Option<WantedFreshness>,
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Look<V> {
    /// It can be given out.
    Found {
        /// What was kept.
        kept: V,
        /// It has outlived its time.
        stale: bool,
        /// Somebody should fetch a newer one meanwhile.
        refresh: bool,
    },
    /// Nothing, but for what may serve in place of a failure.
    Missing(Option<V>),
}

/// What is made of an outcome.
#[derive(Debug)]
pub enum Conclusion<Kp, V> {
    /// The outcome stands, and may be kept.
    Stands(Kp),
    /// It failed, and what was kept before is better.
    Instead(V),
}

/// Keeps an answer that has become whole.
pub trait Keeper<V>: Send + Sync + 'static {
    /// Whether it ever keeps anything.
    const KEEPS: bool = true;

    /// Whether there is anything to keep.
    fn is_kept(&self) -> bool;

    /// Keeps the value, whose weight is in bytes. Whether there was a place for it.
    fn keep(&self, value: impl FnOnce() -> (V, usize)) -> bool;
}

/// What the handle of a layer does with a shelf.
pub trait Shelf<K, V>: Send + Sync + 'static {
    /// Forgets the answer for `key`.
    fn forget(&self, key: &K);

    /// Forgets everything about a subject.
    fn outdate(&self, subject: u64);

    /// Whether anything was ever [outdated](Self::outdate). Until then no subject need be known.
    fn has_changed(&self) -> bool;

    /// How often that was said of this subject.
    fn version(&self, subject: Option<u64>) -> ResourceGeneration;

    /// Forgets everything.
    fn clear(&self);

    /// How many answers are kept, and how many bytes they take.
    fn kept(&self) -> (usize, u64);
}

/// Answers are shared by those who wait for them, and not kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct InFlight;

impl<M: Share<Res>, K, Req, Res, E> Policy<M, K, Req, Res, E> for InFlight
where
    E: Send + Sync + 'static,
{
    type Shelf = Invalidations;
    type Order = ();
    type Fetch = Never<Option<KeptBy<M, Res, E>>>;
    type Keeper = ();
    const KEEPS: bool = false;

    #[inline]
    fn open(&self) -> Invalidations {
        Invalidations::default()
    }

    #[inline]
    fn look(
        &self,
        _: &Invalidations,
        _: &K,
        _: Option<u64>,
        _: Option<&WantedFreshness>,
    ) -> Look<KeptBy<M, Res, E>> {
        Look::Missing(None)
    }

    #[inline]
    fn order(
        &self,
        _: &M,
        _: &Arc<Invalidations>,
        _: &Req,
        _: &K,
        _: About,
        _: Option<KeptBy<M, Res, E>>,
    ) {
    }

    #[inline]
    fn fetch(&self, (): &()) -> Option<Self::Fetch> {
        None
    }

    fn accept(&self, (): &(), _: &KeptBy<M, Res, E>) -> bool {
        false
    }

    #[inline]
    fn conclude(
        &self,
        _: &M,
        (): &(),
        _: Option<Result<&Res, &E>>,
    ) -> Conclusion<(), KeptBy<M, Res, E>> {
        Conclusion::Stands(())
    }
}

impl<V> Keeper<V> for () {
    const KEEPS: bool = false;

    #[inline]
    fn is_kept(&self) -> bool {
        false
    }

    #[inline]
    fn keep(&self, _: impl FnOnce() -> (V, usize)) -> bool {
        false
    }
}

use std::{any::Any, panic::resume_unwind, sync::Arc};

use buttress_core::{Classify, Respond, Share};
use tower_service::Service;

use self::{result::FlightResult, work::Work};
use crate::{
    CachePolicy, ShareError,
    cache::EntryFor,
    flight::{Flight, FlightTable},
    key::KeySource,
    settings::{PanicPolicy, Settings},
    state::DedupState,
};

mod drive;
mod future;
mod oneshot;
mod outcome;
mod refresh;
mod result;
mod stage;
mod start;
mod typed_state;
mod work;

pub use self::future::ResponseFuture;
pub(crate) use self::start::start;

/// Everything about a layer but the service it is put over.
#[derive(Clone, Debug)]
pub struct DedupConfig<K, M, P, R> {
    pub(crate) keys: K,
    pub(crate) mode: M,
    pub(crate) errors: R,
    pub(crate) shared: Arc<SharedConfig<P>>,
}

/// What all calls of a layer have in common.
#[derive(Clone, Debug)]
pub(crate) struct SharedConfig<P> {
    pub(crate) policy: P,
    pub(crate) settings: Settings,
    pub(crate) state: Arc<DedupState>,
}

impl<P> SharedConfig<P> {
    /// Tells of a panic, and lets it go on where that was asked for.
    #[cold]
    pub(crate) fn panicked(&self, payload: Box<dyn Any + Send>) {
        self.state.panicked.add();
        let instance = self.settings.origin.name();
        tracing::error!(name: "dedup.panicked", target: "buttress", instance);
        if self.settings.panic_policy == PanicPolicy::Resumed {
            resume_unwind(payload);
        }
    }

    /// A call has changed a subject: what is kept of it is outdated, and what is in flight takes nobody.
    #[cold]
    pub(crate) fn changed(&self, subject: u64) {
        self.state
            .registry
            .typed_states()
            .for_each(|typed_state| typed_state.invalidate_resource(subject));
    }
}

/// A service whose calls may be shared: its future is polled by whoever waits, on any thread.
///
/// It is implemented for every service that fits.
pub trait SharedService<Req>:
    Service<Req, Response: Send + 'static, Error: Send + Sync + 'static, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S, Req> SharedService<Req> for S where
    S: Service<Req, Response: Send + 'static, Error: Send + Sync + 'static, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// A layer's choices that fit the requests of a service, in one word.
///
/// It is implemented for everything that fits; what is missing is named by the traits it is made of.
pub trait Setup<S, Req>: Clone + Send + Sync + 'static
where
    S: SharedService<Req>,
{
    /// What makes two requests the same.
    type Keys: KeySource<Self::Mode, Req> + Send + Sync + 'static;

    /// How responses are shared and rejections made.
    type Mode: Share<S::Response>
        + Respond<Req, <Self::Mode as Share<S::Response>>::Response, S::Error>
        + Classify<Req, S::Response, S::Error, Seed: Send + 'static>
        + Send
        + Sync
        + 'static;

    /// Whether and how answers are kept.
    type Policy: CachePolicy<Self::Mode, KeyIn<S, Req, Self>, Req, S::Response, S::Error>;

    /// How errors are shared.
    type Errors: ShareError<S::Error> + Send + Sync + 'static;

    #[doc(hidden)]
    fn core(&self) -> &DedupConfig<Self::Keys, Self::Mode, Self::Policy, Self::Errors>;
}

impl<S, Req, K, M, P, R> Setup<S, Req> for DedupConfig<K, M, P, R>
where
    S: SharedService<Req>,
    K: KeySource<M, Req> + Send + Sync + 'static,
    M: Share<S::Response>
        + Respond<Req, <M as Share<S::Response>>::Response, S::Error>
        + Classify<Req, S::Response, S::Error, Seed: Send + 'static>
        + Send
        + Sync
        + 'static,
    P: CachePolicy<M, K::Key, Req, S::Response, S::Error>,
    R: ShareError<S::Error> + Send + Sync + 'static,
{
    type Keys = K;
    type Mode = M;
    type Policy = P;
    type Errors = R;

    #[inline]
    fn core(&self) -> &Self {
        self
    }
}

pub(crate) type KeyIn<S, Req, C> =
    <<C as Setup<S, Req>>::Keys as KeySource<<C as Setup<S, Req>>::Mode, Req>>::Key;
pub(crate) type Res<S, Req> = <S as Service<Req>>::Response;
pub(crate) type Err<S, Req> = <S as Service<Req>>::Error;
pub(crate) type KeptIn<S, Req, C> = EntryFor<<C as Setup<S, Req>>::Mode, Res<S, Req>, Err<S, Req>>;

pub(crate) type OrderIn<S, Req, C> = <<C as Setup<S, Req>>::Policy as CachePolicy<
    <C as Setup<S, Req>>::Mode,
    KeyIn<S, Req, C>,
    Req,
    Res<S, Req>,
    Err<S, Req>,
>>::Plan;
pub(crate) type FetchIn<S, Req, C> = <<C as Setup<S, Req>>::Policy as CachePolicy<
    <C as Setup<S, Req>>::Mode,
    KeyIn<S, Req, C>,
    Req,
    Res<S, Req>,
    Err<S, Req>,
>>::Fetch;
pub(crate) type KeeperIn<S, Req, C> = <<C as Setup<S, Req>>::Policy as CachePolicy<
    <C as Setup<S, Req>>::Mode,
    KeyIn<S, Req, C>,
    Req,
    Res<S, Req>,
    Err<S, Req>,
>>::Write;
pub(crate) type ShelfIn<S, Req, C> = <<C as Setup<S, Req>>::Policy as CachePolicy<
    <C as Setup<S, Req>>::Mode,
    KeyIn<S, Req, C>,
    Req,
    Res<S, Req>,
    Err<S, Req>,
>>::Controls;
/// What is remembered of a request, to judge its outcome.
pub(crate) type Judged<S, Req, C> =
    <<C as Setup<S, Req>>::Mode as Classify<Req, Res<S, Req>, Err<S, Req>>>::Seed;

/// What is remembered of a request: to keep its answer, to judge it, and what it changes.
pub(crate) type InfoIn<S, Req, C> = (OrderIn<S, Req, C>, Judged<S, Req, C>, Option<u64>);
pub(crate) type WorkIn<S, Req, C> = Work<S, Req, InfoIn<S, Req, C>, FetchIn<S, Req, C>>;
pub(crate) type FlightResultIn<S, Req, C> =
    FlightResult<<C as Setup<S, Req>>::Mode, Res<S, Req>, Err<S, Req>, KeeperIn<S, Req, C>>;
pub(crate) type FlightIn<S, Req, C> =
    Flight<KeyIn<S, Req, C>, WorkIn<S, Req, C>, FlightResultIn<S, Req, C>>;
pub(crate) type FlightTableIn<S, Req, C> =
    FlightTable<KeyIn<S, Req, C>, WorkIn<S, Req, C>, FlightResultIn<S, Req, C>>;

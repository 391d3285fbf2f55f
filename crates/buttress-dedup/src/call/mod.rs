use std::{any::Any, hash::Hash, marker::PhantomData, panic::resume_unwind, sync::Arc};

use buttress_core::{Classify, Enforcement, Respond, Share};
use tower_service::Service;

use crate::{
    FlightGuard, ShareError,
    cache::{CachePolicy, EntryFor, FetchedFor},
    key::KeySource,
    settings::{PanicPolicy, Settings},
    state::DedupState,
};

mod drive;
mod future;
mod keyed_call;
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

/// The parts of a layer, without the service that it wraps.
#[derive(Clone, Debug)]
pub(crate) struct DedupConfig<M, K, C, E> {
    pub(crate) mode: M,
    pub(crate) keys: K,
    pub(crate) errors: E,
    pub(crate) shared: Arc<SharedConfig<C>>,
}

/// The parts that all calls of a layer share.
#[derive(Clone, Debug)]
pub(crate) struct SharedConfig<C> {
    pub(crate) policy: C,
    pub(crate) settings: Settings,
    pub(crate) state: Arc<DedupState>,
}

impl<C> SharedConfig<C> {
    /// Counts and reports a panic. Resumes the panic if the layer is set to.
    #[cold]
    pub(crate) fn panicked(&self, payload: Box<dyn Any + Send>) {
        self.state.panics.add();
        let instance = self.settings.origin.name();
        tracing::error!(name: "dedup.panicked", target: "buttress", instance);
        if self.settings.panic_policy == PanicPolicy::Resumed {
            resume_unwind(payload);
        }
    }

    /// Whether the layer only counts and reports what it would do.
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        self.settings.enforcement == Enforcement::Observe
    }

    /// Counts and reports a call that the cache answers before it joins or leads a flight.
    #[inline]
    pub(crate) fn count_hit(&self, stale: bool) {
        self.state.cache_hits.add();
        self.report_hit(stale);
    }

    /// Counts and reports a member of a flight that is answered with an entry.
    pub(crate) fn count_flight_hit(&self, stale: bool) {
        self.state.flight_hits.add();
        self.report_hit(stale);
    }

    #[inline]
    fn report_hit(&self, stale: bool) {
        if stale {
            self.state.stale_hits.add();
        }
        let instance = self.settings.origin.name();
        tracing::trace!(
            name: "dedup.cache_hit", target: "buttress",
            instance, stale, observed = self.is_observed()
        );
    }

    /// Counts a call that ends here because of a panic, in none of the other counters.
    #[cold]
    pub(crate) fn panicked_early(&self, payload: Box<dyn Any + Send>) {
        self.state.ended_early.add();
        self.panicked(payload);
    }

    /// Invalidates a resource, because a call has changed the resource: its entries are not served any more, and its
    /// flights accept no more callers.
    #[cold]
    pub(crate) fn invalidate_resource(&self, resource: u64) {
        self.state
            .registry
            .typed_states()
            .for_each(|typed_state| typed_state.invalidate_resource(resource));
    }
}

/// A service whose calls can be shared: any waiting caller may poll its future, on any thread.
///
/// Implemented for every service with these bounds.
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

/// The types that a kind of call is made of.
pub trait Call: Sized + 'static {
    /// The request.
    type Request: Send + 'static;

    /// The inner service.
    type Service: SharedService<Self::Request, Response = Self::Response, Error = Self::Error>;

    /// The response of the inner service.
    type Response: Send + 'static;

    /// The error of the inner service.
    type Error: Send + Sync + 'static;

    /// The response of a caller, as the mode makes it.
    type Body;

    /// The key that requests for the same have in common.
    type Key: Hash + Eq + Clone + Send + Sync + 'static;

    /// The source of the keys.
    type Keys: KeySource<Self::Mode, Self::Request, Key = Self::Key> + Send + Sync + 'static;

    /// How responses are shared and rejections made.
    type Mode: Share<Self::Response, Response = Self::Body>
        + Respond<Self::Request, Self::Body, Self::Error>
        + Classify<Self::Request, Self::Response, Self::Error, Seed: Send + 'static>
        + Send
        + Sync
        + 'static;

    /// Whether and how responses are cached.
    type Cache: CachePolicy<Self::Mode, Self::Key, Self::Request, Self::Response, Self::Error>;

    /// How errors are shared.
    type Errors: ShareError<Self::Error> + Send + Sync + 'static;
}

/// The [`Call`] of a service `S` for requests `Req` under a layer with these parts.
#[derive(Debug)]
pub struct Of<S, Req, M, K, C, E>(PhantomData<(S, Req, M, K, C, E)>);

impl<S, Req, M, K, C, E> Call for Of<S, Req, M, K, C, E>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    K: KeySource<M, Req> + Send + Sync + 'static,
    M: Share<S::Response>
        + Respond<Req, <M as Share<S::Response>>::Response, S::Error>
        + Classify<Req, S::Response, S::Error, Seed: Send + 'static>
        + Send
        + Sync
        + 'static,
    C: CachePolicy<M, K::Key, Req, S::Response, S::Error>,
    E: ShareError<S::Error> + Send + Sync + 'static,
{
    type Request = Req;
    type Service = S;
    type Response = S::Response;
    type Error = S::Error;
    type Body = <M as Share<S::Response>>::Response;
    type Key = K::Key;
    type Keys = K;
    type Mode = M;
    type Cache = C;
    type Errors = E;
}

pub(crate) type Config<C> =
    DedupConfig<<C as Call>::Mode, <C as Call>::Keys, <C as Call>::Cache, <C as Call>::Errors>;

/// The outcome of a caller.
pub(crate) type Outcome<C> =
    Result<
        <<C as Call>::Mode as Respond<
            <C as Call>::Request,
            <C as Call>::Body,
            <C as Call>::Error,
        >>::Response<FlightGuard>,
        <C as Call>::Error,
    >;

/// What rejections of a request are made of.
pub(crate) type RespondSeed<C> = <<C as Call>::Mode as Respond<
    <C as Call>::Request,
    <C as Call>::Body,
    <C as Call>::Error,
>>::Seed;

/// What is remembered of a request, to judge its outcome.
pub(crate) type VerdictSeed<C> = <<C as Call>::Mode as Classify<
    <C as Call>::Request,
    <C as Call>::Response,
    <C as Call>::Error,
>>::Seed;

/// A response in the form that many callers share.
pub(crate) type SharedOf<C> = <<C as Call>::Mode as Share<<C as Call>::Response>>::Shared;

pub(crate) type Entry<C> = EntryFor<<C as Call>::Mode, <C as Call>::Response, <C as Call>::Error>;
pub(crate) type Plan<C> = <<C as Call>::Cache as CachePolicy<
    <C as Call>::Mode,
    <C as Call>::Key,
    <C as Call>::Request,
    <C as Call>::Response,
    <C as Call>::Error,
>>::Plan;
pub(crate) type StoreFetch<C> = <<C as Call>::Cache as CachePolicy<
    <C as Call>::Mode,
    <C as Call>::Key,
    <C as Call>::Request,
    <C as Call>::Response,
    <C as Call>::Error,
>>::Fetch;
pub(crate) type FetchedOf<C> = FetchedFor<
    <C as Call>::Mode,
    <C as Call>::Response,
    <C as Call>::Error,
    <<C as Call>::Cache as CachePolicy<
        <C as Call>::Mode,
        <C as Call>::Key,
        <C as Call>::Request,
        <C as Call>::Response,
        <C as Call>::Error,
    >>::Lease,
>;
pub(crate) type Writer<C> = <<C as Call>::Cache as CachePolicy<
    <C as Call>::Mode,
    <C as Call>::Key,
    <C as Call>::Request,
    <C as Call>::Response,
    <C as Call>::Error,
>>::Write;
pub(crate) type Controls<C> = <<C as Call>::Cache as CachePolicy<
    <C as Call>::Mode,
    <C as Call>::Key,
    <C as Call>::Request,
    <C as Call>::Response,
    <C as Call>::Error,
>>::Controls;

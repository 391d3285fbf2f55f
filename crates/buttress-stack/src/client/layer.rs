use buttress_core::Bind;
use tower_layer::Layer;

use super::Client;
use crate::place::{
    AttemptPlace, BreakerPlace, DeadlinePlace, DedupPlace, FallbackPlace, HedgePlace, OrderPlace,
    RetryPlace, ThrottlePlace,
};

/// The service that layer `L` makes of service `S`.
type On<L, S> = <L as Layer<S>>::Service;
type InThrottle<S, T, A> = On<T, On<A, S>>;
type InBreaker<S, B, T, A> = On<B, InThrottle<S, T, A>>;
type InHedge<S, H, B, T, A> = On<H, InBreaker<S, B, T, A>>;
type InRetry<S, R, H, B, T, A> = On<R, InHedge<S, H, B, T, A>>;
type InOrder<S, O, R, H, B, T, A> = On<O, InRetry<S, R, H, B, T, A>>;
type InDedup<S, U, O, R, H, B, T, A> = On<U, InOrder<S, O, R, H, B, T, A>>;
type InDeadline<S, D, U, O, R, H, B, T, A> = On<D, InDedup<S, U, O, R, H, B, T, A>>;

impl<S, F, D, U, O, R, H, B, T, A> Layer<S> for Client<F, D, U, O, R, H, B, T, A>
where
    F: FallbackPlace + Layer<InDeadline<S, D, U, O, R, H, B, T, A>>,
    D: DeadlinePlace + Layer<InDedup<S, U, O, R, H, B, T, A>>,
    U: DedupPlace + Layer<InOrder<S, O, R, H, B, T, A>>,
    O: OrderPlace + Layer<InRetry<S, R, H, B, T, A>>,
    R: RetryPlace + Layer<InHedge<S, H, B, T, A>>,
    H: HedgePlace + Layer<InBreaker<S, B, T, A>>,
    B: BreakerPlace + Layer<InThrottle<S, T, A>>,
    T: ThrottlePlace + Layer<On<A, S>>,
    A: AttemptPlace + Layer<S>,
{
    type Service = F::Service;

    fn layer(&self, inner: S) -> F::Service {
        self.setup.report_once(|| self.handle().0);
        let inner = self.throttle.layer(self.attempt.layer(inner));
        let inner = self.hedge.layer(self.breaker.layer(inner));
        let inner = self.order.layer(self.retry.layer(inner));
        let inner = self.deadline.layer(self.dedup.layer(inner));
        self.fallback.layer(inner)
    }
}

impl<M, F, D, U, O, R, H, B, T, A> Bind<M> for Client<F, D, U, O, R, H, B, T, A>
where
    M: Clone,
    F: Bind<M>,
    D: Bind<M>,
    U: Bind<M>,
    O: Bind<M>,
    R: Bind<M>,
    H: Bind<M>,
    B: Bind<M>,
    T: Bind<M>,
    A: Bind<M>,
{
    type Bound = Client<
        F::Bound,
        D::Bound,
        U::Bound,
        O::Bound,
        R::Bound,
        H::Bound,
        B::Bound,
        T::Bound,
        A::Bound,
    >;

    fn bind(self, mode: M) -> Self::Bound {
        Client {
            fallback: self.fallback.bind(mode.clone()),
            deadline: self.deadline.bind(mode.clone()),
            dedup: self.dedup.bind(mode.clone()),
            order: self.order.bind(mode.clone()),
            retry: self.retry.bind(mode.clone()),
            hedge: self.hedge.bind(mode.clone()),
            breaker: self.breaker.bind(mode.clone()),
            throttle: self.throttle.bind(mode.clone()),
            attempt: self.attempt.bind(mode),
            setup: self.setup,
        }
    }
}

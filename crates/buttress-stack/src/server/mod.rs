use std::{fmt, time::Duration};

use buttress_core::Bind;
use buttress_deadline::DeadlineLayer;
use buttress_throttle::ThrottleLayer;
use tower_layer::Layer;

use crate::{
    Off,
    place::{DeadlinePlace, OrderPlace, ThrottlePlace},
    setup::Setup,
};

mod places;

/// Creates the standard server.
///
/// | place | layer |
/// |---|---|
/// | deadline | 30 s, or the earlier deadline that the request announces |
/// | throttle | 1000 calls at a time, none waits |
///
/// A server that knows its capacity limits itself to it, and one that does not learns it:
/// `ThrottleLayer::adaptive(Gradient2::default()).queue(100)`.
pub fn server() -> Server {
    let server = Server {
        deadline: DeadlineLayer::new(Duration::from_secs(30)),
        order: Off,
        throttle: ThrottleLayer::concurrency(1000),
        setup: Setup::new("server", "server"),
    };
    server.named("server")
}

/// The layers of a server, always in the same order: deadline, order, throttle.
///
/// [`server`] makes one. The value is a [`Layer`], and [`service`](Self::service) applies it. `Server`
/// without parameters is the type of [`server`].
///
/// Clones, and all services that the server makes, share the state of each layer. So all routes of an
/// axum router have one limit.
///
/// ```
/// use buttress_core::BoxError;
/// use buttress_throttle::{Gradient2, ThrottleLayer};
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let server = buttress_stack::server()
///     .named("checkout")
///     .throttle(ThrottleLayer::adaptive(Gradient2::default()).queue(100));
/// let handler = server.service(service_fn(|row: u32| async move { Ok::<_, BoxError>(row) }));
/// assert_eq!(handler.oneshot(7).await.unwrap(), 7);
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a server does nothing until it wraps a service"]
pub struct Server<D = DeadlineLayer, O = Off, T = ThrottleLayer> {
    deadline: D,
    order: O,
    throttle: T,
    setup: Setup,
}

impl<D, O, T> Server<D, O, T> {
    /// Wraps `inner` in all layers. The same as [`Layer::layer`].
    pub fn service<S>(&self, inner: S) -> <Self as Layer<S>>::Service
    where
        Self: Layer<S>,
    {
        self.layer(inner)
    }
}

impl<S, D, O, T> Layer<S> for Server<D, O, T>
where
    D: DeadlinePlace + Layer<O::Service>,
    O: OrderPlace + Layer<T::Service>,
    T: ThrottlePlace + Layer<S>,
{
    type Service = D::Service;

    fn layer(&self, inner: S) -> D::Service {
        self.setup.report_once(|| self.handle().0);
        self.deadline.layer(self.order.layer(self.throttle.layer(inner)))
    }
}

impl<M: Clone, D: Bind<M>, O: Bind<M>, T: Bind<M>> Bind<M> for Server<D, O, T> {
    type Bound = Server<D::Bound, O::Bound, T::Bound>;

    fn bind(self, mode: M) -> Self::Bound {
        Server {
            deadline: self.deadline.bind(mode.clone()),
            order: self.order.bind(mode.clone()),
            throttle: self.throttle.bind(mode),
            setup: self.setup,
        }
    }
}

/// Prints the name.
impl<D, O, T> fmt::Debug for Server<D, O, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.setup.name).finish_non_exhaustive()
    }
}

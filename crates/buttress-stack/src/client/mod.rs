use std::fmt;

use buttress_breaker::BreakerLayer;
use buttress_deadline::DeadlineLayer;
use buttress_retry::RetryLayer;
use buttress_throttle::ThrottleLayer;
use tower_layer::Layer;

use crate::{Off, setup::Setup};

mod layer;
mod options;
mod places;
mod presets;

pub use self::presets::{client, client_for_aws, client_for_grpc, client_for_http};

/// The layers of a client, always in the same order: fallback, deadline, dedup, order, retry, hedge,
/// breaker, throttle, and the deadline of an attempt.
///
/// [`client`] and the other presets make one. The value is a [`Layer`], and
/// [`service`](Self::service) applies it. `Client` without parameters is the type of [`client`].
///
/// Clones, and all services that the client makes, share the state of each layer.
///
/// ```
/// use std::time::Duration;
///
/// use buttress_control::Backoff;
/// use buttress_core::BoxError;
/// use buttress_stack::{DedupLayer, HedgeLayer};
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1));
/// let client = buttress_stack::client()
///     .named("payments")
///     .edit_retry(|retry| retry.backoff(backoff))
///     .hedge(HedgeLayer::learned())
///     .dedup(DedupLayer::new())
///     .without_throttle();
/// let database = client.service(service_fn(|row: u32| async move { Ok::<_, BoxError>(row) }));
/// assert_eq!(database.oneshot(7).await.unwrap(), 7);
/// # }
/// ```
#[derive(Clone)]
#[doc(alias("standard resilience handler", "pipeline"))]
#[must_use = "a client does nothing until it wraps a service"]
pub struct Client<
    F = Off,
    D = DeadlineLayer,
    U = Off,
    O = Off,
    R = RetryLayer,
    H = Off,
    B = BreakerLayer,
    T = ThrottleLayer,
    A = DeadlineLayer,
> {
    fallback: F,
    deadline: D,
    dedup: U,
    order: O,
    retry: R,
    hedge: H,
    breaker: B,
    throttle: T,
    attempt: A,
    setup: Setup,
}

impl<F, D, U, O, R, H, B, T, A> Client<F, D, U, O, R, H, B, T, A> {
    /// Wraps `inner` in all layers. The same as [`Layer::layer`].
    pub fn service<S>(&self, inner: S) -> <Self as Layer<S>>::Service
    where
        Self: Layer<S>,
    {
        self.layer(inner)
    }
}

/// Prints the preset and the name.
impl<F, D, U, O, R, H, B, T, A> fmt::Debug for Client<F, D, U, O, R, H, B, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("preset", &self.setup.preset)
            .field("name", &self.setup.name)
            .finish_non_exhaustive()
    }
}

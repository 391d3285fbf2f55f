//! A service whose requests say how long it works, and the rejection inside an error.

use std::time::Duration;

use buttress_core::{BoxError, Reason, Rejection};
use buttress_testkit::Probe;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};
use tower_service::Service;

/// Calls are milliseconds of work, and are answered with them.
pub(crate) type Worker = BoxCloneService<u64, u64, BoxError>;

/// A worker behind `layer`.
pub(crate) fn limited<L>(layer: &L) -> Worker
where
    L: Layer<Worker>,
    L::Service:
        Service<u64, Response = u64, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    layer.layer(worker()).boxed_clone()
}

pub(crate) fn worker() -> Worker {
    let work = |millis| async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok::<_, BoxError>(millis)
    };
    service_fn(work).boxed_clone()
}

/// The rejection an error is.
pub(crate) fn rejection<T: std::fmt::Debug>(outcome: Result<T, BoxError>) -> Rejection {
    let error = outcome.unwrap_err();
    Rejection::find(&error).unwrap_or_else(|| panic!("not a rejection: {error}")).clone()
}

pub(crate) fn reason<T: std::fmt::Debug>(outcome: Result<T, BoxError>) -> Reason {
    rejection(outcome).reason()
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) type Echo = BoxCloneService<u32, u32, BoxError>;

/// A service that answers at once.
pub(crate) fn echo<L>(layer: &L) -> Echo
where
    L: Layer<Probe<u32, u32, BoxError>>,
    L::Service:
        Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    layer.layer(Probe::new(|n: u32| Ok(n))).boxed_clone()
}

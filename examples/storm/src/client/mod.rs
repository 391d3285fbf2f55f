//! What a client is, and the one without controls.

pub(crate) mod layer_events;
pub(crate) mod layered;

use std::sync::Arc;
use std::task::{Context, Poll};

use buttress::{Reason, Rejection};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Transport, Error, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use tower::{Service, ServiceExt};

use crate::client::layered::Decisions;
use crate::operations::Operation;

/// A way to carry out operations.
pub(crate) trait Client: Send + Sync + 'static {
    /// Reads the three pages of `operation`, each after the one before.
    fn run(
        &self,
        origin: &str,
        operation: Operation,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What its controls decided so far; `None` if it has none.
    fn decisions(&self) -> Option<Decisions> {
        None
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The upstream's own answer was not a success.
    Status(u16),
    /// No answer, or not all of one: the connection broke.
    Connection,
    /// A layer of the client answered in the upstream's stead.
    Rejected(Reason),
}

/// Three dependent awaits on a bare hyper client, no controls: a failed call fails the operation, and
/// nothing limits how long a call may take.
pub(crate) struct Linear(Hyper);

impl Linear {
    pub(crate) fn new() -> Self {
        Self(hyper())
    }
}

impl Client for Linear {
    async fn run(&self, origin: &str, operation: Operation) -> Result<(), Failure> {
        read(&self.0, origin, operation).await
    }
}

/// The transport of every client, as a handle: hyper-util's own takes 300 bytes, and whatever waits for
/// its turn holds one.
#[derive(Clone)]
pub(crate) struct Hyper(Arc<Transport<HttpConnector, Empty<Bytes>>>);

pub(crate) fn hyper() -> Hyper {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut transport = Transport::builder(TokioExecutor::new());
    Hyper(Arc::new(transport.retry_canceled_requests(false).build(connector)))
}

impl Service<Request<Empty<Bytes>>> for Hyper {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> ResponseFuture {
        self.0.request(request)
    }
}

/// The three reads of an operation, through any service that takes requests to answers.
pub(crate) async fn read<S, B>(
    service: &S,
    origin: &str,
    operation: Operation,
) -> Result<(), Failure>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: 'static> + Clone,
    B: Body<Error: 'static>,
{
    for path in operation.paths() {
        let request = Request::get(format!("{origin}{path}"))
            .body(Empty::new())
            .map_err(|_| Failure::Connection)?;
        let answered = service.clone().oneshot(request).await;
        let body = answered.map_err(|error| broken(&error)).and_then(page)?;
        body.collect().await.map_err(|error| broken(&error))?;
    }
    Ok(())
}

/// The body of an answer that is a success.
fn page<B>(response: Response<B>) -> Result<B, Failure> {
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        return Err(Failure::Rejected(rejection.reason()));
    }
    match response.status() {
        status if status.is_success() => Ok(response.into_body()),
        status => Err(Failure::Status(status.as_u16())),
    }
}

/// A layer that ends a body says so in the body's error.
fn broken<E: 'static>(error: &E) -> Failure {
    Rejection::find(error)
        .map_or(Failure::Connection, |rejection| Failure::Rejected(rejection.reason()))
}

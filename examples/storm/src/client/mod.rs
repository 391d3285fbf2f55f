//! The trait of all clients, and an HTTP service as a client.

pub(crate) mod decisions;
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

use crate::client::decisions::Decisions;
use crate::operations::Operation;

/// A way to carry out operations.
pub(crate) trait Client: Send + Sync + 'static {
    /// Reads the pages of `operation` sequentially.
    fn run(
        &self,
        origin: &str,
        operation: Operation,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Returns the counts of the layers so far, or `None` if the client has no layers.
    fn decisions(&self) -> Option<Decisions> {
        None
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The upstream's response was not a success.
    Status(u16),
    /// The connection broke before the end of the response.
    Connection,
    /// A layer of the client rejected the request.
    Rejected(Reason),
}

/// Any HTTP service as a client: a failed call fails the operation.
pub(crate) struct Pages<S>(pub(crate) S);

impl<S, B> Client for Pages<S>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Send + 'static, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data: Send, Error: Send + 'static> + Send,
{
    async fn run(&self, origin: &str, operation: Operation) -> Result<(), Failure> {
        read_pages(&self.0, origin, operation).await
    }
}

/// A handle to the transport of a client.
///
/// A clone of hyper-util's own client takes 300 bytes, and every waiting request holds a clone.
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

/// Reads the pages of an operation through any HTTP service.
async fn read_pages<S, B>(service: &S, origin: &str, operation: Operation) -> Result<(), Failure>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: 'static> + Clone,
    B: Body<Error: 'static>,
{
    for path in operation.paths() {
        let request = Request::get(format!("{origin}{path}"))
            .body(Empty::new())
            .map_err(|_| Failure::Connection)?;
        let response = service.clone().oneshot(request).await;
        let body = response.map_err(|error| failure(&error)).and_then(success_body)?;
        body.collect().await.map_err(|error| failure(&error))?;
    }
    Ok(())
}

/// Returns the body of a response, or the failure if the response is not a success.
fn success_body<B>(response: Response<B>) -> Result<B, Failure> {
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        return Err(Failure::Rejected(rejection.reason()));
    }
    match response.status() {
        status if status.is_success() => Ok(response.into_body()),
        status => Err(Failure::Status(status.as_u16())),
    }
}

/// The cause of an error. A layer that ends a body puts its rejection into the error of the body.
fn failure<E: 'static>(error: &E) -> Failure {
    Rejection::find(error)
        .map_or(Failure::Connection, |rejection| Failure::Rejected(rejection.reason()))
}

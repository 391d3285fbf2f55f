//! The clients that go through the storm.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as Transport;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::{Service, ServiceExt};

use crate::operations::Operation;

/// A way to carry out operations.
pub(crate) trait Client: Clone + Send + Sync + 'static {
    /// Reads the three pages of `operation`, each after the one before.
    fn run(
        &self,
        origin: &str,
        operation: Operation,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What it decided so far.
    fn decisions(&self) -> Decisions {
        Decisions::default()
    }

    /// How long an operation may take.
    fn patience(&self) -> Option<Duration> {
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
    /// A layer of the client gave the answer, for this reason.
    Rejected(String),
}

/// Retries made, and calls given up, each by reason.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Decisions {
    pub(crate) retries: BTreeMap<&'static str, u64>,
    pub(crate) stops: BTreeMap<&'static str, u64>,
}

/// Three dependent awaits on a bare hyper client, no controls: a failed call fails the operation, and
/// nothing limits how long a call may take.
#[derive(Clone)]
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

/// The transport of every client.
pub(crate) type Hyper = Transport<HttpConnector, Empty<Bytes>>;

pub(crate) fn hyper() -> Hyper {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Transport::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector)
}

/// The three reads of an operation, through any service that takes requests to answers.
pub(crate) async fn read<S, B>(
    service: &S,
    origin: &str,
    operation: Operation,
) -> Result<(), Failure>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone,
    B: http_body::Body,
{
    for path in operation.paths() {
        let request = Request::get(format!("{origin}{path}"))
            .body(Empty::new())
            .map_err(|_| Failure::Connection)?;
        let response = service.clone().oneshot(request).await.map_err(|_| Failure::Connection)?;
        if !response.status().is_success() {
            return Err(Failure::Status(response.status().as_u16()));
        }
        response.into_body().collect().await.map_err(|_| Failure::Connection)?;
    }
    Ok(())
}

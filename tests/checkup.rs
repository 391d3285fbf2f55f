use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use buttress::Deadline;
use tokio_stream::{Stream, StreamExt, iter, pending};
use tonic::{Request, Response, Status, async_trait, metadata::MetadataMap};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

/// A health service whose behaviour the request selects, and which records the requests.
///
/// | `service` | `Check` | `Watch` |
/// |---|---|---|
/// | `stuck` | never answers | three messages, then silence |
/// | `flaky` | `UNAVAILABLE`, except at every third call | three messages |
/// | any other | `SERVING` | three messages |
#[derive(Clone, Debug, Default)]
pub struct Checkup {
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The field `service` of the message.
    pub service: String,
    /// The metadata of the request.
    pub metadata: MetadataMap,
    /// The time left until the ambient deadline.
    pub left: Option<Duration>,
}

impl Checkup {
    /// Returns all requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a request. Returns the number of requests so far.
    fn record(&self, request: &Request<HealthCheckRequest>) -> usize {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Seen {
            service: request.get_ref().service.clone(),
            metadata: request.metadata().clone(),
            left: Deadline::current().map(Deadline::remaining),
        });
        seen.len()
    }
}

#[async_trait]
impl Health for Checkup {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let calls = self.record(&request);
        match request.get_ref().service.as_str() {
            "stuck" => std::future::pending().await,
            "flaky" if !calls.is_multiple_of(3) => Err(Status::unavailable("not yet")),
            _ => Ok(Response::new(serving())),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.record(&request);
        let messages = iter([serving(), serving(), serving()].map(Ok));
        Ok(Response::new(if request.get_ref().service == "stuck" {
            Box::pin(messages.chain(pending()))
        } else {
            Box::pin(messages)
        }))
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}

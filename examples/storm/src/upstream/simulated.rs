//! The upstream in virtual time: the same network, without sockets.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tokio::time::{Instant, sleep, timeout_at};
use tower::Service;

use crate::lock::lock;
use crate::upstream::conditions::Conditions;
use crate::upstream::fault_plan::{Behaviour, SILENCE};
use crate::upstream::network::{Network, NetworkCounts, Treatment};
use crate::upstream::server::{empty_response, overloaded, page};

/// An upstream without sockets, whose storm has begun.
///
/// A reset is an error of the kind `ConnectionReset`. A request that is in flight at the start of an outage is
/// reset then.
#[derive(Clone)]
pub(crate) struct SimulatedUpstream(Arc<Mutex<Network>>);

impl SimulatedUpstream {
    pub(crate) fn new(conditions: Conditions, seed: u64) -> Self {
        let mut network = Network::new(conditions, seed);
        network.begin(Instant::now());
        Self(Arc::new(Mutex::new(network)))
    }

    pub(crate) fn counts(&self) -> NetworkCounts {
        lock(&self.0).counts()
    }
}

impl Service<Request<Empty<Bytes>>> for SimulatedUpstream {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let now = Instant::now();
        let (treatment, outage) = {
            let mut network = lock(&self.0);
            (network.treat(now), network.next_outage(now))
        };
        Box::pin(async move {
            let response = respond(treatment, request.uri().path());
            match outage {
                Some(outage) => timeout_at(outage, response).await.unwrap_or_else(|_| Err(reset())),
                None => response.await,
            }
        })
    }
}

async fn respond(treatment: Treatment, path: &str) -> io::Result<Response<Full<Bytes>>> {
    match treatment {
        Treatment::Planned(Behaviour::Healthy(after) | Behaviour::Slow(after)) => {
            sleep(after).await;
            Ok(page(path))
        }
        Treatment::Planned(Behaviour::Status(status)) => {
            Ok(empty_response(StatusCode::from_u16(status).unwrap_or_default()))
        }
        Treatment::Planned(Behaviour::ResetBefore | Behaviour::ResetAfter) | Treatment::Outage => {
            Err(reset())
        }
        Treatment::Planned(Behaviour::Silent) => {
            sleep(SILENCE).await;
            Err(reset())
        }
        Treatment::Overloaded => Ok(overloaded()),
        Treatment::Dead | Treatment::Held => match pending::<Infallible>().await {},
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

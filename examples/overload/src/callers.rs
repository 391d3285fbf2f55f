//! The callers: requests at fixed times, each with a time limit.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tower::Service;

/// The result of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// The time the request was due, since the start of the run.
    pub(crate) due: Duration,
    /// The delay until the callers' process sent the request.
    pub(crate) late: Duration,
    /// The time from when the request was due to its result.
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The response came in time.
    Served,
    /// The response was a 503.
    Rejected,
    /// The caller left, because no response came in time.
    TimedOut,
    /// Another status, or a broken connection.
    Failed,
    /// Not sent, because 4,000 requests were in flight.
    NotSent,
}

/// All callers of a server.
pub(crate) struct Callers {
    client: PageClient,
    start: Instant,
    in_flight: Arc<Semaphore>,
    calls: JoinSet<Record>,
}

/// An HTTP client and the URI of the page.
#[derive(Clone)]
struct PageClient {
    client: Client<Connector, Empty<Bytes>>,
    page: Uri,
}

impl Callers {
    /// Creates the callers of the server at this address. The run starts now.
    pub(crate) fn new(server: SocketAddr) -> Result<Self, http::Error> {
        let page = Uri::builder().scheme("http").authority(server.to_string()).path_and_query("/");
        Ok(Self {
            client: PageClient {
                client: Client::builder(TokioExecutor::new())
                    .retry_canceled_requests(false)
                    .pool_max_idle_per_host(IDLE)
                    .build(Connector(server)),
                page: page.build()?,
            },
            start: Instant::now(),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            calls: JoinSet::new(),
        })
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Sends each request when it is due, whatever the state of the others. Returns when all are sent.
    pub(crate) async fn send(&mut self, arrivals: impl Iterator<Item = Duration>) {
        for due in arrivals {
            let at = self.start + due;
            sleep_until(at).await;
            let late = at.elapsed();
            let (client, permit) =
                (self.client.clone(), Arc::clone(&self.in_flight).try_acquire_owned());
            self.calls.spawn(async move {
                let outcome = match permit {
                    Ok(_permit) => client.fetch(at + PATIENCE).await,
                    Err(_) => Outcome::NotSent,
                };
                Record { due, late, took: at.elapsed(), outcome }
            });
        }
    }

    /// Waits for the last result and returns all results.
    pub(crate) async fn finish(self) -> Vec<Record> {
        self.calls.join_all().await
    }
}

impl PageClient {
    /// Requests the page. At the deadline it drops the connection, because HTTP/1 cannot cancel a request.
    async fn fetch(&self, deadline: Instant) -> Outcome {
        let outcome = timeout_at(deadline, self.read()).await;
        // `timeout_at` polls the response before the timer, so on a loaded machine a late response may still be ready.
        outcome.ok().filter(|_| Instant::now() <= deadline).unwrap_or(Outcome::TimedOut)
    }

    async fn read(&self) -> Outcome {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.page.clone();
        let Ok(response) = self.client.request(request).await else { return Outcome::Failed };
        let status = response.status();
        match (status, response.into_body().collect().await) {
            (StatusCode::OK, Ok(_)) => Outcome::Served,
            (StatusCode::SERVICE_UNAVAILABLE, Ok(_)) => Outcome::Rejected,
            _ => Outcome::Failed,
        }
    }
}

/// Connects with `TCP_NODELAY`, and closes with a reset.
///
/// Thousands of connections close in a run. Each orderly close would block its port for a minute (`TIME_WAIT`).
#[derive(Clone)]
struct Connector(SocketAddr);

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let server = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            stream.set_zero_linger()?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// The time a caller waits for the whole response.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The most requests in flight. Only a client that hangs reaches this, because callers leave after [`PATIENCE`].
const MAX_IN_FLIGHT: usize = 4000;

/// The most idle connections.
const IDLE: usize = 64;

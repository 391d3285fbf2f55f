//! Those who call the server, and how long each of them is ready to wait.

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

/// One request as it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// When it was to be made, since the start of the run.
    pub(crate) due: Duration,
    /// How much later the callers' process came to it.
    pub(crate) late: Duration,
    /// How long it took from when it was due.
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Answered in time.
    Served,
    /// Turned away with a 503.
    Rejected,
    /// Not answered in time: the caller has left.
    TimedOut,
    /// Anything else: another status, a broken connection.
    Failed,
    /// Not made, because too many others were under way.
    NotSent,
}

/// All the callers of one server.
pub(crate) struct Callers {
    visits: Visits,
    start: Instant,
    room: Arc<Semaphore>,
    calls: JoinSet<Record>,
}

/// A client that opens as many connections as it needs, and the page it asks for.
#[derive(Clone)]
struct Visits {
    client: Client<Connector, Empty<Bytes>>,
    page: Uri,
}

impl Callers {
    /// Those who call the server at this address. Their time counts from now.
    pub(crate) fn of(server: SocketAddr) -> Result<Self, http::Error> {
        let page = Uri::builder().scheme("http").authority(server.to_string()).path_and_query("/");
        Ok(Self {
            visits: Visits {
                client: Client::builder(TokioExecutor::new())
                    .retry_canceled_requests(false)
                    .pool_max_idle_per_host(IDLE)
                    .build(Connector(server)),
                page: page.build()?,
            },
            start: Instant::now(),
            room: Arc::new(Semaphore::new(ROOM)),
            calls: JoinSet::new(),
        })
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Makes each request when it is due, whatever becomes of the others; returns when all are made.
    pub(crate) async fn make(&mut self, arrivals: impl Iterator<Item = Duration>) {
        for due in arrivals {
            let at = self.start + due;
            sleep_until(at).await;
            let late = at.elapsed();
            let (visits, place) = (self.visits.clone(), Arc::clone(&self.room).try_acquire_owned());
            self.calls.spawn(async move {
                let outcome = match place {
                    Ok(_place) => visits.visit(at + PATIENCE).await,
                    Err(_) => Outcome::NotSent,
                };
                Record { due, late, took: at.elapsed(), outcome }
            });
        }
    }

    /// How each request went, once the last is over.
    pub(crate) async fn records(self) -> Vec<Record> {
        self.calls.join_all().await
    }
}

impl Visits {
    /// Asks for the page, and leaves at the deadline: with the connection, for HTTP/1 has no other way.
    async fn visit(&self, deadline: Instant) -> Outcome {
        let outcome = timeout_at(deadline, self.read()).await;
        // The answer is looked at before the time, so on a loaded machine it may be there and be late.
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

/// Connects without delays, and closes with a reset: thousands leave in a run, and each orderly farewell
/// would block its port for a minute.
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

/// How long a caller waits for the whole answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Far more than callers of that patience can be under way: only a client that is stuck meets this.
const ROOM: usize = 4000;

/// Connections kept for later.
const IDLE: usize = 64;

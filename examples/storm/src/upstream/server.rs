//! The server: hyper on loopback, with commands on standard input.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::lock::lock;
use crate::upstream::conditions::Conditions;
use crate::upstream::fault_plan::{Behaviour, SILENCE};
use crate::upstream::faulty_stream::{FaultyStream, PendingTreatment};
use crate::upstream::network::{Network, Treatment};

/// Serves until standard input ends, so that no upstream outlives the process that started it.
///
/// The first line on standard output is the port. Each line on standard input is a command:
/// [`SETTLE`], [`RELEASE`], [`BEGIN`] and [`REPORT`].
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(conditions: Conditions, seed: u64) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let network = Arc::new(Mutex::new(Network::new(conditions, seed)));
    let (release, released) = watch::channel(false);
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    let mut connections = JoinSet::new();
    let mut held = JoinSet::new();
    let mut outage = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let stream = FaultyStream::new(stream, Arc::clone(&network))?;
                connections.spawn(connection(stream, released.clone()));
            }
            // Reset all open connections: dropping a connection closes it, and every close is a reset.
            () = at(outage) => {
                connections.abort_all();
                outage = lock(&network).next_outage(Instant::now());
            }
            Some(_) = connections.join_next() => {}
            command = commands.next_line() => match command?.as_deref() {
                Some(SETTLE) => {
                    held.spawn(settle(Arc::clone(&network)));
                }
                Some(RELEASE) => {
                    lock(&network).release();
                    release.send_replace(true);
                }
                Some(BEGIN) => {
                    let now = Instant::now();
                    lock(&network).begin(now);
                    outage = lock(&network).next_outage(now);
                }
                Some(REPORT) => println!("{}", serde_json::to_string(&lock(&network).counts())?),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// Prints a line as soon as no request has arrived for 40 ms.
pub(crate) const SETTLE: &str = "settle";
/// Responds to all held requests.
pub(crate) const RELEASE: &str = "release";
/// Ends the calm phase.
pub(crate) const BEGIN: &str = "begin";
/// Prints the counts as a line of JSON.
pub(crate) const REPORT: &str = "report";

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn settle(network: Arc<Mutex<Network>>) {
    let mut before = lock(&network).counts().held;
    loop {
        sleep(SETTLED).await;
        let now = lock(&network).counts().held;
        if now == before {
            return println!("{SETTLE}");
        }
        before = now;
    }
}

async fn connection(stream: FaultyStream, released: watch::Receiver<bool>) {
    let pending = stream.pending();
    let service = service_fn(move |request| respond(request, pending.clone(), released.clone()));
    // An error here is an intended fault or a client that has closed, so it is ignored.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Responds to a request that was read, or fails so that hyper closes the connection.
async fn respond(
    request: Request<Incoming>,
    pending: PendingTreatment,
    mut released: watch::Receiver<bool>,
) -> Result<Response<Full<Bytes>>, ResetConnection> {
    match pending.take() {
        Some(Treatment::Planned(Behaviour::Healthy(after) | Behaviour::Slow(after))) => {
            sleep(after).await;
        }
        Some(Treatment::Planned(Behaviour::Status(status))) => {
            return Ok(empty_response(StatusCode::from_u16(status).unwrap_or_default()));
        }
        Some(Treatment::Overloaded) => {
            return Ok(overloaded());
        }
        Some(Treatment::Planned(Behaviour::Silent)) => {
            sleep(SILENCE).await;
            return Err(ResetConnection);
        }
        Some(Treatment::Dead) => std::future::pending().await,
        Some(Treatment::Held) => {
            let _ = released.wait_for(|released| *released).await;
        }
        Some(
            Treatment::Planned(Behaviour::ResetBefore | Behaviour::ResetAfter) | Treatment::Outage,
        )
        | None => {
            return Err(ResetConnection);
        }
    }
    Ok(page(request.uri().path()))
}

/// Returns a page of 1 KiB that names the path and is fresh for 2 s.
pub(super) fn page(path: &str) -> Response<Full<Bytes>> {
    let mut text = format!("{path}\n");
    text.extend(std::iter::repeat_n('.', PAGE.saturating_sub(text.len())));
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CACHE_CONTROL, FRESH);
    response
}

pub(super) fn empty_response(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Returns the response above the rate limit.
pub(super) fn overloaded() -> Response<Full<Bytes>> {
    let mut response = empty_response(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(RETRY_AFTER, 1.into());
    response
}

/// Closes a connection without a response.
#[derive(Debug)]
struct ResetConnection;

impl fmt::Display for ResetConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset by the network")
    }
}

impl std::error::Error for ResetConnection {}

const PAGE: usize = 1024;
const FRESH: http::HeaderValue = http::HeaderValue::from_static("max-age=2, stale-if-error=10");

/// The time without an arrival after which all requests have come.
///
/// Shorter than the deadline of an attempt, so no client has started its second attempt.
const SETTLED: Duration = Duration::from_millis(40);

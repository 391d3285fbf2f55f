//! The upstream: a hyper server on loopback, in a process of its own.

pub(crate) mod fault_plan;
pub(crate) mod faulty_stream;
pub(crate) mod network;
pub(crate) mod process;

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

use crate::upstream::fault_plan::{Card, SILENCE};
use crate::upstream::faulty_stream::{Hand, Wire, lock};
use crate::upstream::network::{Fate, Weather};

/// Serves until standard input ends, so that no upstream outlives the process that started it.
///
/// It prints its port as the first line on standard output and then obeys one word a line:
/// [`SETTLE`], [`RELEASE`], [`BEGIN`] and [`REPORT`].
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(seed: u64) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let weather = Arc::new(Mutex::new(Weather::new(seed)));
    let (release, released) = watch::channel(false);
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    let mut connections = JoinSet::new();
    let mut held = JoinSet::new();
    let mut outage = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let wire = Wire::new(stream, Arc::clone(&weather))?;
                connections.spawn(connection(wire, released.clone()));
            }
            // Everything that is open now is reset: dropping a connection closes it, and that is a reset.
            () = at(outage) => {
                connections.abort_all();
                outage = lock(&weather).next_outage(Instant::now());
            }
            Some(_) = connections.join_next() => {}
            command = commands.next_line() => match command?.as_deref() {
                Some(SETTLE) => {
                    held.spawn(settle(Arc::clone(&weather)));
                }
                Some(RELEASE) => {
                    lock(&weather).release();
                    release.send_replace(true);
                }
                Some(BEGIN) => {
                    let now = Instant::now();
                    lock(&weather).begin(now);
                    outage = lock(&weather).next_outage(now);
                }
                Some(REPORT) => println!("{}", serde_json::to_string(&lock(&weather).tally())?),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// Asks for a line once no further request has come for a while.
pub(crate) const SETTLE: &str = "settle";
/// Lets go of all held requests.
pub(crate) const RELEASE: &str = "release";
/// Starts the weather.
pub(crate) const BEGIN: &str = "begin";
/// Asks for the tally, as a line of JSON.
pub(crate) const REPORT: &str = "report";

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn settle(weather: Arc<Mutex<Weather>>) {
    let mut before = lock(&weather).tally().held;
    loop {
        sleep(SETTLED).await;
        let now = lock(&weather).tally().held;
        if now == before {
            return println!("{SETTLE}");
        }
        before = now;
    }
}

async fn connection(wire: Wire, released: watch::Receiver<bool>) {
    let hand = wire.hand();
    let service = service_fn(move |request| answer(request, hand.clone(), released.clone()));
    // An error here is a fault that was meant, or a client that has gone: nothing to tell.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(wire), service).await;
}

/// The answer to a request that was read, or the cut that ends its connection.
async fn answer(
    request: Request<Incoming>,
    hand: Hand,
    mut released: watch::Receiver<bool>,
) -> Result<Response<Full<Bytes>>, Cut> {
    match hand.take() {
        Some(Fate::Dealt(Card::Healthy(after) | Card::Slow(after))) => sleep(after).await,
        Some(Fate::Dealt(Card::Status(status))) => {
            return Ok(refusal(StatusCode::from_u16(status).unwrap_or_default()));
        }
        Some(Fate::Overloaded) => {
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE);
            response.headers_mut().insert(RETRY_AFTER, 1.into());
            return Ok(response);
        }
        Some(Fate::Dealt(Card::Silent)) => {
            sleep(SILENCE).await;
            return Err(Cut);
        }
        Some(Fate::Held) => {
            let _ = released.wait_for(|released| *released).await;
        }
        Some(Fate::Dealt(Card::ResetBefore | Card::ResetAfter) | Fate::Outage) | None => {
            return Err(Cut);
        }
    }
    Ok(page(request.uri().path()))
}

/// One KiB that names its path, fresh for two seconds.
fn page(path: &str) -> Response<Full<Bytes>> {
    let mut text = format!("{path}\n");
    text.extend(std::iter::repeat_n('.', PAGE.saturating_sub(text.len())));
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CACHE_CONTROL, FRESH);
    response
}

fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Ends a connection without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut by the weather")
    }
}

impl std::error::Error for Cut {}

const PAGE: usize = 1024;
const FRESH: http::HeaderValue = http::HeaderValue::from_static("max-age=2, stale-if-error=10");

/// Shorter than an attempt's deadline, so that a settling client is still at its first attempt.
const SETTLED: Duration = Duration::from_millis(40);

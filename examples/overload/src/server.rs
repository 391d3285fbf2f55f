//! The server: axum on loopback, in a process of its own, bare or behind a limit.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use axum::serve::ListenerExt;
use buttress::throttle::{ConcurrencyLimit, Regulate, Vegas};
use buttress::{Codel, HttpExt, Queue, ThrottleHandle, ThrottleLayer};
use bytes::Bytes;
use http::StatusCode;
use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use crate::pool::{Pool, Times};

/// Counts the live bytes of this process, as the program asked for them.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The servers, in order.
pub(crate) const NAMES: [&str; 4] = [BARE, CONCURRENCY, CODEL, ADAPTIVE];
const BARE: &str = "bare";
const CONCURRENCY: &str = "concurrency";
const CODEL: &str = "codel";
const ADAPTIVE: &str = "adaptive";

/// How a server is at some moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Condition {
    pub(crate) heap_bytes: usize,
    /// The most jobs its pool has held at once, waiting or worked on.
    pub(crate) most_jobs: usize,
    /// How many requests its layer lets through at a time; `None` without one.
    pub(crate) limit: Option<u32>,
}

/// Serves until standard input ends, so that no server outlives the process that started it.
///
/// It prints its port as the first line on standard output, and a [`Condition`] as JSON for each line that
/// comes in.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(name: &str, seed: u64) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let listener = listener.tap_io(|stream| {
        // What it costs to be without it is a delay, and not an error.
        let _ = stream.set_nodelay(true);
    });
    let (pool, _workers) = Pool::open();
    let times = Arc::new(Mutex::new(Times::new(seed)));
    let app = Router::new().route("/", get(page)).with_state((pool.clone(), times));
    let (app, limit) = behind(name, app);
    let answers = async {
        let mut questions = BufReader::new(tokio::io::stdin()).lines();
        while questions.next_line().await?.is_some() {
            let condition = Condition {
                heap_bytes: HEAP.current_usage(),
                most_jobs: pool.most(),
                limit: limit.as_ref().map(|limit| limit()),
            };
            println!("{}", serde_json::to_string(&condition)?);
        }
        Ok(())
    };
    tokio::select! {
        served = axum::serve(listener, app) => served,
        ended = answers => ended,
    }
}

async fn page(State((pool, times)): State<(Pool, Arc<Mutex<Times>>)>) -> Result<Bytes, StatusCode> {
    let takes = times.lock().unwrap_or_else(PoisonError::into_inner).draw();
    pool.page(takes).await.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Puts the layer of this name around the app, and tells how to learn its limit.
fn behind(name: &str, app: Router) -> (Router, Option<Limit>) {
    match name {
        CONCURRENCY => {
            let layer = ThrottleLayer::concurrency(PERMITS).queue(Queue::new(QUEUE).max_wait(WAIT));
            let limit = limit(layer.handle());
            (app.layer(layer.http()), Some(limit))
        }
        CODEL => {
            let codel = Codel::new(TARGET, INTERVAL);
            let layer =
                ThrottleLayer::concurrency(PERMITS).queue(Queue::new(LONG_QUEUE).codel(codel));
            let limit = limit(layer.handle());
            (app.layer(layer.http()), Some(limit))
        }
        ADAPTIVE => {
            let layer =
                ThrottleLayer::adaptive(Vegas::default()).queue(Queue::new(QUEUE).max_wait(WAIT));
            let limit = limit(layer.handle());
            (app.layer(layer.http()), Some(limit))
        }
        _ => (app, None),
    }
}

type Limit = Box<dyn Fn() -> u32>;

fn limit<A: Regulate>(handle: ThrottleHandle<ConcurrencyLimit<A>>) -> Limit {
    Box::new(move || handle.limit())
}

/// Twice as many as there are workers, so that none is idle between two jobs.
const PERMITS: u32 = 16;

/// Emptied in 160 ms: far less than anybody's patience.
const QUEUE: usize = 32;
const WAIT: Duration = Duration::from_millis(400);

/// Emptied in 1 s, when nobody would be left: it is for the delay, and not for the length, to end a wait.
const LONG_QUEUE: usize = 200;

/// Half a job's time. The 5 ms of the paper are for shorter ones: where this process comes to the next
/// request only after twice the target, nobody in the queue has waited for less, and all are shed.
const TARGET: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_millis(100);

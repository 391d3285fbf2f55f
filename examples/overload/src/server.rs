//! The server: axum on loopback in a process of its own, bare or behind a limit.

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

use crate::worker_pool::{WorkTimes, WorkerPool};

/// Counts the live bytes that this process has requested.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The names of the servers, in order.
pub(crate) const NAMES: [&str; 4] = [BARE, CONCURRENCY, CODEL, ADAPTIVE];
const BARE: &str = "bare";
const CONCURRENCY: &str = "concurrency";
const CODEL: &str = "codel";
const ADAPTIVE: &str = "adaptive";

/// The state of a server at one moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct ServerSnapshot {
    pub(crate) heap_bytes: usize,
    /// The most jobs in the pool at once so far, waiting or in progress.
    pub(crate) most_jobs: usize,
    /// The concurrency limit; `None` without a layer.
    pub(crate) limit: Option<u32>,
}

/// Serves until standard input ends, so that no server outlives the process that started it.
///
/// The first line on standard output is the port. For each line on standard input it prints a
/// [`ServerSnapshot`] as JSON.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(name: &str, seed: u64) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let listener = listener.tap_io(|stream| {
        // Without `TCP_NODELAY` responses are delayed but correct, so an error is ignored.
        let _ = stream.set_nodelay(true);
    });
    let (pool, _workers) = WorkerPool::open();
    let times = Arc::new(Mutex::new(WorkTimes::new(seed)));
    let app = Router::new().route("/", get(page)).with_state((pool.clone(), times));
    let (app, limit) = wrap(name, app);
    let commands = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while lines.next_line().await?.is_some() {
            let snapshot = ServerSnapshot {
                heap_bytes: HEAP.current_usage(),
                most_jobs: pool.max_jobs(),
                limit: limit.as_ref().map(|limit| limit()),
            };
            println!("{}", serde_json::to_string(&snapshot)?);
        }
        Ok(())
    };
    tokio::select! {
        served = axum::serve(listener, app) => served,
        ended = commands => ended,
    }
}

async fn page(
    State((pool, times)): State<(WorkerPool, Arc<Mutex<WorkTimes>>)>,
) -> Result<Bytes, StatusCode> {
    let takes = times.lock().unwrap_or_else(PoisonError::into_inner).draw();
    pool.page(takes).await.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Wraps the app in the layer of this name. Returns a function that reads the limit.
fn wrap(name: &str, app: Router) -> (Router, Option<Limit>) {
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

/// Twice the number of workers, so that no worker is idle between two jobs.
const PERMITS: u32 = 16;

/// Drained in 160 ms, far less than the 1 s that a caller waits.
const QUEUE: usize = 32;
const WAIT: Duration = Duration::from_millis(400);

/// Drained in 1 s, after which every caller would have left. So controlled delay must end the wait, not the queue's length.
const LONG_QUEUE: usize = 200;

/// Half of the time of a job. The paper's 5 ms suit shorter jobs: if the process reaches the next request only
/// after twice the target, every queued request has waited too long, and `Codel` sheds all of them.
const TARGET: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_millis(100);

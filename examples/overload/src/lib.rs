//! The overload: a server under three times its capacity on real sockets, with and without the layers.
//!
//! `cargo run --release --example overload` puts the same load on several servers, one after the other. Each is
//! an axum server on loopback, in a child process that runs this same program. The child's heap is therefore
//! separate from that of the callers.
//!
//! | column | server |
//! |---|---|
//! | `bare` | no layer around the handler |
//! | `concurrency` | `ThrottleLayer::concurrency(16).queue(Queue::new(32).max_wait(400 ms))` around the router |
//! | `codel` | `ThrottleLayer::concurrency(16).queue(Queue::new(200).codel(Codel::new(20 ms, 100 ms)))`: a longer queue, from which controlled delay sheds requests that waited too long |
//! | `adaptive` | `ThrottleLayer::adaptive(Vegas::default())`, with the queue of `concurrency` |
//!
//! # The service
//!
//! A handler gets its page from a pool of eight workers. A page takes 40 ms of work on average (lognormal,
//! σ .25), so the capacity is 200 pages a second. The pool stands for a database or a thread pool: its queue is
//! unbounded, and it completes each job whether or not the caller still waits. A job holds 4 KiB.
//!
//! # The load
//!
//! The load is an open loop: 600 requests a second as a Poisson process, independent of the responses. A caller
//! leaves after 1 s without a response, and a later response is worth nothing. After the overload, the load is
//! 100 requests a second for 2 s, half of the capacity.
//!
//! Without a limit the queue grows by 400 jobs a second. Soon the workers reach a job only after its caller has
//! left. This continues after the overload until the queue is empty. Behind a limit the workers serve callers
//! that still wait, and the other callers get a 503 at once.
//!
//! Goodput counts responses in time, from the end of the first second to the end of the overload. Latency counts
//! from the time a request was due, whether or not the callers' process was late.

mod arguments;
mod arrivals;
mod callers;
mod measure;
mod process;
mod report;
mod server;
mod worker_pool;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::sleep_until;

use crate::arguments::Arguments;
use crate::callers::{Callers, PATIENCE};
use crate::measure::Run;
use crate::process::ServerProcess;
use crate::report::Report;

/// Runs the overload. Exit codes: 0 for success, 1 if the overload could not run, 2 for invalid arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.server {
        Some(name) => server::serve(name, arguments.seed).map_err(Into::into),
        None => overload(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn overload(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut servers = Vec::new();
    for name in server::NAMES.into_iter().filter(|name| arguments.includes(name)) {
        eprintln!(
            "{name}: {} s of overload, {} s at half the capacity",
            arguments.seconds,
            RECOVERY.as_secs()
        );
        servers.push(run_server(arguments, name).await?.row());
    }
    let report = Report {
        seed: arguments.seed,
        seconds: arguments.seconds,
        capacity_per_second: worker_pool::capacity(),
        patience_ms: PATIENCE.as_millis(),
        servers,
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table());
    }
    Ok(())
}

/// Runs a server.
async fn run_server(arguments: &Arguments, name: &'static str) -> Result<Run, Box<dyn Error>> {
    let overload = Duration::from_secs(arguments.seconds.into());
    let between = |from, to, load| {
        arrivals::between(from, to, load * worker_pool::capacity(), arguments.seed)
    };
    let mut server = ServerProcess::start(name, arguments.seed).await?;
    let start = server.snapshot().await?;
    let mut callers = Callers::new(server.address())?;
    let middle = callers.start() + overload / 2;
    let (middle_snapshot, ()) = tokio::join!(
        async {
            sleep_until(middle).await;
            server.snapshot().await
        },
        callers.send(between(Duration::ZERO, overload, OVERLOAD)),
    );
    let end = server.snapshot().await?;
    callers.send(between(overload, overload + RECOVERY, HALF)).await;
    let records = callers.finish().await;
    server.end().await;
    Ok(Run { name, records, overload, start, half: middle_snapshot?, end })
}

/// The load as a multiple of the capacity.
const OVERLOAD: f64 = 3.0;
const HALF: f64 = 0.5;

/// The time at half the capacity after the overload.
const RECOVERY: Duration = Duration::from_secs(2);

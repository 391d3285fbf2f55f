//! The overload: a server under three times the load it can bear, on real sockets, with and without the
//! layers.
//!
//! `cargo run --release --example overload` starts an axum server on loopback, in a child process that is
//! this very program once more, so that its memory can be told from the callers', and puts the same load on
//! each of several servers, one after the other:
//!
//! | column | server |
//! |---|---|
//! | `bare` | nothing around the handler |
//! | `concurrency` | `ThrottleLayer::concurrency(16).queue(Queue::new(32).max_wait(400 ms))` around all of it |
//! | `codel` | `ThrottleLayer::concurrency(16).queue(Queue::new(200).codel(Codel::new(20 ms, 100 ms)))`: a longer queue, out of which whoever waited too long is shed |
//! | `adaptive` | `ThrottleLayer::adaptive(Vegas::default())`, with the queue of `concurrency` |
//!
//! # The service
//!
//! A handler has a page made by a pool of eight workers, 40 ms of work each on average (lognormal, σ .25):
//! 200 a second. The pool stands for a database or a pool of threads: its queue has no bound, and a job
//! that has been handed in is done whether or not its caller still waits. A job holds 4 KiB.
//!
//! # The load
//!
//! An open loop: requests come at random (a Poisson process), 600 a second, and nobody waits for the
//! answers to others before making one's own. A caller who has no answer after 1 s leaves, and the
//! answer is worth nothing. Then, for 2 s, 100 a second come, which the server could bear easily.
//!
//! Without a limit the queue grows by 400 jobs a second, a job is soon worked on only when its caller has
//! gone, and so it stays after the overload, until the queue has been worked off. Behind a limit the work
//! goes to callers who are still there, and the others learn at once that they must turn elsewhere.
//!
//! Goodput counts answers in time, from the end of the first second to the end of the overload. Latency is
//! measured from when a request was due, whether or not the callers' process was late.

mod arguments;
mod arrivals;
mod callers;
mod measure;
mod pool;
mod process;
mod report;
mod server;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::sleep_until;

use crate::arguments::Arguments;
use crate::callers::{Callers, PATIENCE};
use crate::measure::Run;
use crate::process::Server;
use crate::report::Report;

/// The overload, from its command line to its exit code: 0 when it has run, 1 when it could not, 2 for
/// arguments that make no sense.
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
        eprintln!("{name}: {} s of overload, {} s of calm", arguments.seconds, CALM.as_secs());
        servers.push(through(arguments, name).await?.row());
    }
    let report = Report {
        seed: arguments.seed,
        seconds: arguments.seconds,
        capacity_per_second: pool::capacity(),
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

/// One server's run.
async fn through(arguments: &Arguments, name: &'static str) -> Result<Run, Box<dyn Error>> {
    let overload = Duration::from_secs(arguments.seconds.into());
    let between =
        |from, to, load| arrivals::between(from, to, load * pool::capacity(), arguments.seed);
    let mut server = Server::start(name, arguments.seed).await?;
    let start = server.condition().await?;
    let mut callers = Callers::of(server.address())?;
    let middle = callers.start() + overload / 2;
    let (half, ()) = tokio::join!(
        async {
            sleep_until(middle).await;
            server.condition().await
        },
        callers.make(between(Duration::ZERO, overload, OVERLOAD)),
    );
    let end = server.condition().await?;
    callers.make(between(overload, overload + CALM, HALF)).await;
    let records = callers.records().await;
    server.end().await;
    Ok(Run { name, records, overload, start, half: half?, end })
}

/// The load, in capacities.
const OVERLOAD: f64 = 3.0;
const HALF: f64 = 0.5;

/// How long half the load is put on after the overload.
const CALM: Duration = Duration::from_secs(2);

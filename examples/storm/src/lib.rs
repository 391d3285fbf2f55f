//! The storm: one program in bad weather, on real sockets, with and without the layers.
//!
//! `cargo run --release --example storm` starts a hyper server on loopback, in a child process that
//! is this very program once more, and runs the same operations against it with several clients, one
//! after the other, each against a child of its own:
//!
//! | row | client |
//! |---|---|
//! | `linear` | three dependent awaits on a hyper client; no timeout, no retry |
//! | `buttress` | the same transport under deadline 5 s → dedup, which keeps answers as their headers say → retry (6 attempts, full jitter 50 → 400 ms, budget 50 % + 10/s) → throttle (16 requests at a time, a queue for the others) → deadline 150 ms for each attempt |
//! | `buttress-without-cache` | the same, but an answer is only for those who wait for it |
//! | `buttress-distinct-keys` | `buttress` with operations that share no key: dedup can spare nothing, and what is left is retry and throttle |
//! | `buttress-default-budget` | `buttress` with the library's default budget, 20 % + 10/s |
//!
//! # The weather
//!
//! It never depends on who calls. 2000 operations are made by 100 callers, of whom each begins at
//! most one in 500 ms, so that failing fast buys nobody more operations. An operation reads
//! `/l1/a`, then `/l2/b`, then `/l3/c`, with keys by Zipf's law, from a list that is the same for
//! every client.
//!
//! Each request takes the next card, in the order of arrival, from a deck of shuffled blocks of
//! forty:
//!
//! | cards | fault |
//! |---|---|
//! | 30 | none: answered after 40 ms × a lognormal factor (σ .25) |
//! | 3 | 502, 503 and 504, at once |
//! | 2 | reset before the request was read: its bytes are peeked at to know that it is there, and stay unread in the socket |
//! | 2 | reset once it was read |
//! | 2 | answered after 2 to 3 s |
//! | 1 | silence, until the upstream cuts the connection after 3 s |
//!
//! From 2.5 s on, every 5 s, an outage of 300 ms resets what is open when it starts and every request
//! that comes while it lasts. Above 1000 requests a second, 200 at once, the answer is 503 with
//! `Retry-After: 1`. Requests that meet either take their card all the same. Every reset is a real
//! one: the sockets close with `SO_LINGER` zero.
//!
//! # Calibration
//!
//! The deck fails 20 % of the calls. Outages, with the calls in flight when they start, make it about
//! a quarter, and an operation of three calls succeeds in .75³ = 42 % of all cases. Measured over the
//! seeds 1 to 24, `linear` completes 41.0 to 42.1 % of 2000 operations and 41.2 to 42.1 % of 4000,
//! with the deck as it stands above.
//!
//! # The heap
//!
//! The client's process counts its allocations. Before the weather begins, a fresh client carries out
//! 100 operations with distinct keys at once while the upstream holds its answers, until all of them
//! are in flight and for 40 ms no further request has come. Then all answers come before any is read.
//! The peak is that of live bytes over what was live before the client was made: tasks, connections
//! and their buffers included, the upstream not. In every row the operations share one client, and its
//! transport is a handle: one pointer for whatever holds a clone. Without controls nearly all of it belongs
//! to connections, 34 KiB each. With 16 requests on the wire, nearly a half belongs to connections, and
//! the rest in equal parts to operations that wait and to the pages that are kept, two hundred by then.
//!
//! Distinct keys are the worst case: coalescing can do nothing. A second measurement therefore uses the first
//! 100 operations of the client's own list, whose keys follow Zipf's law as in the storm, with another fresh
//! client and an upstream of its own. Its result is `heap_own_keys_bytes_per_operation`.
//!
//! # The limit
//!
//! By Little's law 16 permits, held for 42 ms on average, let 375 requests a second through: three
//! quarters of the requests take 41 ms, 7.5 % the 150 ms of an attempt, and the others fail at once. A
//! hundred callers ask for twice as much. What makes up for it is dedup, which spares two reads of three;
//! without it, and with keys that are all distinct, the limit is what costs successes.
//!
//! A permit is held until the body has ended. Waiting is done outside of the attempt's deadline, which
//! would otherwise be spent in the queue, and inside of the caller's, which ends it.

mod arguments;
mod callers;
mod client;
mod heap;
mod operations;
mod progress;
mod report;
mod upstream;

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::Arguments;
use crate::client::{Client, Linear, layer_events, layered};
use crate::heap::Peaks;
use crate::operations::Operation;
use crate::progress::Progress;
use crate::report::row::Run;
use crate::report::{Report, plot};
use crate::upstream::process::Upstream;

/// The storm, from its command line to its exit code: 0 when it has run, 1 when it could not, 2 for
/// arguments that make no sense.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.upstream {
        upstream::serve(arguments.seed).map_err(Into::into)
    } else {
        writable(&arguments.plot);
        storm(&arguments)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the program, as for any bad argument, where the picture could not be written in the end.
fn writable(plot: &Path) {
    let directory = plot.parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = directory.and_then(|()| fs::File::create(plot).map(drop)) {
        let message = format!("--plot: cannot write {}: {error}", plot.display());
        <Arguments as clap::CommandFactory>::command().error(ErrorKind::Io, message).exit();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn storm(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut runs = Vec::new();
    let seed = arguments.seed;
    let number = arguments.operations as usize;
    let list: Arc<[_]> = operations::list(seed, number).into();
    for name in NAMES.into_iter().filter(|name| arguments.includes(name)) {
        let list = Arc::clone(&list);
        runs.push(match name {
            BUTTRESS => {
                let client = || layered::buttress(name, ENOUGH, seed);
                through(arguments, name, list, client).await?
            }
            WITHOUT_CACHE => {
                let client = || layered::without_cache(name, ENOUGH, seed);
                through(arguments, name, list, client).await?
            }
            DISTINCT_KEYS => {
                let client = || layered::buttress(name, ENOUGH, seed);
                through(arguments, name, operations::distinct(number).into(), client).await?
            }
            DEFAULT_BUDGET => {
                let client = || layered::buttress(name, DEFAULT, seed);
                through(arguments, name, list, client).await?
            }
            _ => through(arguments, name, list, Linear::new).await?,
        });
    }
    plot::draw(&arguments.plot, &runs)?;
    let report = Report {
        seed: arguments.seed,
        operations: arguments.operations,
        concurrency: arguments.concurrency,
        clients: runs.iter().map(Run::row).collect(),
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table());
    }
    eprintln!("picture: {}", arguments.plot.display());
    Ok(())
}

/// The rows, in order.
const NAMES: [&str; 5] = ["linear", BUTTRESS, WITHOUT_CACHE, DISTINCT_KEYS, DEFAULT_BUDGET];
const BUTTRESS: &str = "buttress";
const WITHOUT_CACHE: &str = "buttress-without-cache";
const DISTINCT_KEYS: &str = "buttress-distinct-keys";
const DEFAULT_BUDGET: &str = "buttress-default-budget";

/// Retries per hundred calls: what this network needs with some to spare, and the library's default.
const ENOUGH: u32 = 50;
const DEFAULT: u32 = 20;

/// One client's run, against an upstream of its own: first the heap in calm weather, then the storm.
async fn through<C: Client>(
    arguments: &Arguments,
    name: &'static str,
    operations: Arc<[Operation]>,
    fresh: impl Fn() -> C,
) -> io::Result<Run> {
    let mut calm = Upstream::start(arguments.seed).await?;
    let own = heap::peak(&mut calm, &fresh, heap::first(&operations)).await?;
    calm.finish().await?;
    let mut upstream = Upstream::start(arguments.seed).await?;
    let distinct = heap::peak(&mut upstream, &fresh, heap::distinct()).await?;
    let client = Arc::new(fresh());
    let mut progress = Progress::new(name, arguments.operations);
    layer_events::restart();
    upstream.begin().await?;
    let count = |record: &_| progress.count(record);
    let records =
        callers::run(&client, upstream.origin(), &operations, arguments.concurrency, count).await;
    progress.finish();
    Ok(Run {
        name,
        records,
        decisions: client.decisions(),
        peaks: Peaks { distinct, own },
        weather: upstream.finish().await?,
    })
}

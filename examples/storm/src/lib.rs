//! The storm: real sockets and an unstable network, with and without the layers.
//!
//! `cargo run --release --example storm` runs the same operations with several clients, one after the other.
//! For each client it starts a hyper server on loopback, in a child process that runs this same program:
//!
//! | row | client |
//! |---|---|
//! | `linear` | three dependent calls on a hyper client; no timeout, no retry |
//! | `buttress` | the same transport under `buttress::client()` with deadline 5 s → dedup with a cache that obeys the response headers → retry (6 attempts, full jitter 50 → 400 ms, budget 50 % + 10/s) → hedge (learned delay, pays from the retry's budget too) → throttle (16 concurrent requests and a queue) → deadline 150 ms for each attempt |
//! | `buttress-without-cache` | the same without a cache and a hedge: only concurrent requests share a response, and no permit is free for a hedge |
//! | `buttress-distinct-keys` | `buttress` with operations that share no key: dedup shares nothing, and the full limit refuses the hedges, so only retry and throttle help |
//! | `buttress-default-budget` | `buttress` with the library's default budget, 20 % + 10/s |
//!
//! # The network
//!
//! Faults never depend on the client. 100 callers make 2,000 operations. Each caller begins at most one
//! operation in 500 ms, so a client that fails fast gets no more operations. An operation reads `/l1/a`, then
//! `/l2/b`, then `/l3/c`. The keys follow Zipf's law, and the list is the same for every client.
//!
//! Each request takes the next behaviour from a plan, in the order of arrival. The plan consists of shuffled
//! blocks of 40:
//!
//! | of 40 | behaviour |
//! |---|---|
//! | 30 | no fault: a response after 40 ms × a lognormal factor (σ .25) |
//! | 3 | 502, 503 and 504, at once |
//! | 2 | a reset before the request is read: the server peeks at the bytes and leaves them unread in the socket |
//! | 2 | a reset after the request is read |
//! | 2 | a response after 2.5 s × the same factor |
//! | 1 | silence, until the upstream resets the connection after 3 s |
//!
//! From 2.5 s on, every 5 s, an outage of 300 ms resets all connections that are open at its start and all
//! requests that arrive while it lasts. Above 1,000 requests a second, or a burst of 200, the response is 503
//! with `Retry-After: 1`. Requests that meet an outage or this limit take a behaviour from the plan too.
//! Every reset is a real TCP reset: the sockets close with `SO_LINGER` zero.
//!
//! # Calibration
//!
//! The plan fails 20 % of the calls. Outages raise this to about a quarter, because calls in flight at their
//! start fail too. An operation of three calls therefore succeeds in .75³ = 42 % of all cases. In virtual time,
//! over the seeds 1 to 24, `linear` completes 40.95 to 42.00 % of 2,000 operations. `tests/simulated.rs` measures
//! these numbers.
//!
//! # Virtual time
//!
//! The plan is a `Weather` of `buttress-testkit`, with shares that are exact in each block. [`simulated`] runs the
//! clients `linear` and `buttress` on the same network in virtual time, without sockets. A reset is then an error,
//! and the same seed gives the same events, byte for byte.
//!
//! # The heap
//!
//! The client's process counts its allocations. Before the storm a new client carries out 100 operations with
//! distinct keys concurrently. The upstream holds its responses until all operations are in flight and no
//! request has arrived for 40 ms. Then all responses arrive before any is read.
//!
//! The result is the peak of live bytes above the heap before the client was made. The peak includes tasks,
//! connections and their buffers, but not the upstream. In every row the operations share one client, and the
//! transport is a handle of one pointer per clone. Without layers, nearly all of the heap belongs to
//! connections, 34 KiB each. With 16 concurrent requests, nearly a half belongs to connections. The rest
//! belongs in equal parts to waiting operations and to the cached pages, 200 by then.
//!
//! Distinct keys are the worst case, because dedup cannot coalesce anything. A second measurement therefore
//! uses the first 100 operations of the client's own list, whose keys follow Zipf's law as in the storm. It
//! has a new client and an upstream of its own. Its result is `heap_own_keys_bytes_per_operation`.
//!
//! # The limit
//!
//! By Little's law, 16 permits that are held for 42 ms on average admit 375 requests a second. Three quarters
//! of the requests take 41 ms, 7.5 % the 150 ms of an attempt, and the others fail at once. 100 callers send
//! twice as many requests. Dedup makes up for the difference, because it answers two reads of three. Without
//! dedup, and with distinct keys, the limit costs successes.
//!
//! A permit is held until the end of the body. The queue is outside of the attempt's deadline, which the wait
//! would otherwise use up, and inside of the operation's deadline, which ends the wait.
//!
//! # Hedge and breaker
//!
//! 7.5 % of the requests get no response in time. A hedge sends such a request once more, before the attempt's
//! deadline ends it. So a third of these timeouts, and of the retries after them, does not happen.
//!
//! The row has no breaker. A breaker with its defaults opens in each outage of 300 ms, stays open for longer than
//! the outage, and then ramps for 3 s. Two further clients run only if `--only` names them:
//!
//! | row | client |
//! |---|---|
//! | `buttress-without-hedge` | `buttress` without the hedge |
//! | `buttress-with-breaker` | `buttress` with a breaker per authority between hedge and throttle. The breaker opens for 250 ms, then admits all calls again, and the retry waits for the circuit. In the calm phase the held responses open the circuit, so the heap of this row is not comparable |
//!
//! # The scenarios
//!
//! After the storm, two scenarios show a breaker and a hedge under conditions of their own. The load is open:
//! operations begin at fixed times, whatever the state of the others. The clients of a scenario run at the same
//! time, each with an upstream of its own, so a busy machine affects all alike.
//!
//! **A dead upstream.** Every 5 ms a read begins. From 3 s to 13 s the upstream is dead: all connections are
//! reset, and later requests get no response. There are no other faults. A read has a deadline of 2 s and 3
//! attempts of 400 ms with the default budget:
//!
//! | row | client |
//! |---|---|
//! | `retry` | no breaker |
//! | `retry-breaker` | a breaker with its defaults below the retry |
//! | `retry-breaker-1s` | a breaker that stays open for 1 s each time, without a ramp |
//!
//! The upstream counts its requests. Full service begins with the first window of 250 ms after the outage from
//! which on at least 95 % of the reads succeed, for 3 s.
//!
//! **A slow tail.** Every 10 ms an operation of three reads begins. Of 100 responses, one takes 400 ms, and the
//! others 40 ms, each × a lognormal factor (σ .25). So one operation in 34 meets the tail. The row `plain` has no
//! layers, and the row `hedge` has a hedge with a learned delay. The first 4 s are not measured, because a
//! hedge sends nothing before the delay is known.

mod arguments;
mod callers;
mod client;
mod heap;
mod lock;
mod operations;
mod progress;
mod report;
mod scenario;
pub mod simulated;
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
use crate::client::layered::{self, Settings};
use crate::client::{Client, Pages, hyper, layer_events};
use crate::heap::Peaks;
use crate::operations::Operation;
use crate::progress::Progress;
use crate::report::row::Run;
use crate::report::{Report, plot};
use crate::scenario::dead_upstream::{self, DeadUpstreamRun};
use crate::scenario::slow_tail::{self, SlowTailRun};
use crate::upstream::conditions::Conditions;
use crate::upstream::process::UpstreamProcess;

/// Runs the storm. Exit codes: 0 for success, 1 if the storm could not run, 2 for invalid arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.upstream {
        upstream::server::serve(arguments.conditions, arguments.seed).map_err(Into::into)
    } else {
        check_plot("--plot", &arguments.plot);
        if arguments.includes_scenario() {
            check_plot("--scenario-plot", &arguments.scenario_plot);
        }
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

/// Exits with code 2 if the file of the plot cannot be written.
fn check_plot(option: &str, plot: &Path) {
    let directory = plot.parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = directory.and_then(|()| fs::File::create(plot).map(drop)) {
        let message = format!("{option}: cannot write {}: {error}", plot.display());
        <Arguments as clap::CommandFactory>::command().error(ErrorKind::Io, message).exit();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn storm(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let runs = clients(arguments).await?;
    let dead_upstream = if arguments.includes(DEAD_UPSTREAM) {
        dead_upstream::run(arguments.seed).await?
    } else {
        Vec::new()
    };
    let slow_tail = if arguments.includes(SLOW_TAIL) {
        slow_tail::run(arguments.seed).await?
    } else {
        Vec::new()
    };
    plot::draw(&arguments.plot, &runs)?;
    eprintln!("plot: {}", arguments.plot.display());
    if arguments.includes_scenario() {
        scenario::plot::draw(&arguments.scenario_plot, &dead_upstream, &slow_tail)?;
        eprintln!("plot: {}", arguments.scenario_plot.display());
    }
    let report = Report {
        seed: arguments.seed,
        operations: arguments.operations,
        concurrency: arguments.concurrency,
        clients: runs.iter().map(Run::row).collect(),
        dead_upstream: dead_upstream.iter().map(DeadUpstreamRun::row).collect(),
        slow_tail: slow_tail.iter().map(SlowTailRun::row).collect(),
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.tables());
    }
    Ok(())
}

/// Runs the clients of the storm, one after the other.
async fn clients(arguments: &Arguments) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    let seed = arguments.seed;
    let number = arguments.operations as usize;
    let list: Arc<[_]> = operations::list(seed, number).into();
    for name in CLIENTS.into_iter().filter(|name| arguments.includes(name)) {
        let list = Arc::clone(&list);
        let settings = Settings { name, percent: STORM_BUDGET, seed };
        runs.push(match name {
            BUTTRESS => run_client(arguments, name, list, || layered::buttress(settings)).await?,
            WITHOUT_CACHE => {
                run_client(arguments, name, list, || layered::without_cache(settings)).await?
            }
            DISTINCT_KEYS => {
                let list = operations::distinct(number).into();
                run_client(arguments, name, list, || layered::buttress(settings)).await?
            }
            DEFAULT_BUDGET => {
                let settings = Settings { percent: LIBRARY_BUDGET, ..settings };
                run_client(arguments, name, list, || layered::buttress(settings)).await?
            }
            WITHOUT_HEDGE => {
                run_client(arguments, name, list, || layered::without_hedge(settings)).await?
            }
            WITH_BREAKER => {
                run_client(arguments, name, list, || layered::with_breaker(settings)).await?
            }
            _ => run_client(arguments, name, list, || Pages(hyper())).await?,
        });
    }
    Ok(runs)
}

/// The names that `--only` takes.
const NAMES: [&str; 9] = [
    LINEAR,
    BUTTRESS,
    WITHOUT_CACHE,
    DISTINCT_KEYS,
    DEFAULT_BUDGET,
    WITHOUT_HEDGE,
    WITH_BREAKER,
    DEAD_UPSTREAM,
    SLOW_TAIL,
];
/// The clients, in the order of their rows.
const CLIENTS: [&str; 7] =
    [LINEAR, BUTTRESS, WITHOUT_CACHE, DISTINCT_KEYS, DEFAULT_BUDGET, WITHOUT_HEDGE, WITH_BREAKER];
/// The clients that run only if `--only` names them.
const EXTRA: [&str; 2] = [WITHOUT_HEDGE, WITH_BREAKER];
const SCENARIOS: [&str; 2] = [DEAD_UPSTREAM, SLOW_TAIL];
const LINEAR: &str = "linear";
const BUTTRESS: &str = "buttress";
const WITHOUT_CACHE: &str = "buttress-without-cache";
const DISTINCT_KEYS: &str = "buttress-distinct-keys";
const DEFAULT_BUDGET: &str = "buttress-default-budget";
const WITHOUT_HEDGE: &str = "buttress-without-hedge";
const WITH_BREAKER: &str = "buttress-with-breaker";
const DEAD_UPSTREAM: &str = Conditions::DeadUpstream.as_str();
const SLOW_TAIL: &str = Conditions::SlowTail.as_str();

/// Retries per 100 calls: enough for this network, and the library's default.
const STORM_BUDGET: u32 = 50;
const LIBRARY_BUDGET: u32 = 20;

/// Runs a client: first the measurements of the heap in the calm phase, then the storm.
async fn run_client<C: Client>(
    arguments: &Arguments,
    name: &'static str,
    operations: Arc<[Operation]>,
    new_client: impl Fn() -> C,
) -> io::Result<Run> {
    let mut calm = UpstreamProcess::start(Conditions::Storm, arguments.seed).await?;
    let own = heap::peak(&mut calm, &new_client, heap::first(&operations)).await?;
    calm.finish().await?;
    let mut upstream = UpstreamProcess::start(Conditions::Storm, arguments.seed).await?;
    let distinct = heap::peak(&mut upstream, &new_client, heap::distinct()).await?;
    let client = Arc::new(new_client());
    let mut progress = Progress::new(name, arguments.operations);
    layer_events::reset();
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
        network: upstream.finish().await?,
    })
}

//! The fleet: four processes keep a rate together, on a real redis-server.
//!
//! `cargo run --release --example fleet` starts a redis-server on a free port and four replicas, which are
//! child processes that run this same program. Each replica has a `ThrottleLayer::rate(..).fleet(..)` of its
//! own around a service that responds at once. Only the server joins them. The parts run one after the other:
//!
//! | part | rate, burst | calls |
//! |---|---|---|
//! | steady, busy | 5,000/s, 1,000 | 70 % and 90 % of the rate, for 4 s |
//! | overload | 5,000/s, 1,000 | three times the rate, for 4 s; again with eight replicas |
//! | adversary | 5,000/s, 1,000 | all replicas load their leases, are silent for 20 to 220 ms, and then make 2,000 calls at once |
//! | killed | 2,000/s, 400 | three times the rate; after 1.5 s `kill -9`, and 2 s later a new server without state |
//! | stopped | 2,000/s, 400 | the same with `SIGSTOP` and `SIGCONT` |
//!
//! Then the replicas share a cache, a `SharedCache` behind a `DedupLayer`. All need the same 20 keys, one
//! each 100 ms, with 50 callers per replica. The service works for 50 ms. At last one replica leads the calls
//! for 20 keys, and is killed 40 ms after it began. The lease of a lock is 300 ms there.
//!
//! The load is open: calls begin at random times (a Poisson process with a seed per replica), whatever the
//! state of the others.
//!
//! # What is measured
//!
//! - **Trips per admission**: requests to the server, for each call that a layer admitted.
//! - **Decision**: from the call of the layer to its rejection, or to the response of the service. The delay of
//!   the replica's timer is not part of it, because the layer cannot change this.
//! - **Calls over rate and burst**: the times at which the service saw calls, of all replicas, replayed
//!   through one bucket. The result is that of the worst interval. 1 % of the burst is the slack of the
//!   measurement, 2 ms at 5,000/s.
//! - **Admitted of what one bucket would**: the beginnings of all calls, replayed in the same way.
//! - **Back on the store after**: from the first reply of the server, as this process sees it, until the last
//!   replica asks the server again.
//!
//! # The clock
//!
//! Instants of two processes cannot be compared, and a wall clock can step. So each replica reads the wall
//! clock once per part, beside an instant, and counts on from there. The parent warns if the wall clock has
//! stepped by more than 1 ms meanwhile.
//!
//! # A busy machine
//!
//! If a reply takes longer than 25 ms, the replica lives on its share for 100 ms, as in an outage. On a busy
//! machine this happens while the server lives. The fleet may then admit more, by the share of that replica.
//! The table says `busy?` where this, or a time, exceeds the goal. `--check` fails only for goals that hold on
//! any machine.
//!
//! # The soak
//!
//! `--soak 600` offers 1.5 times a rate of 2,000/s for ten minutes. Each tenant has a rate too, and 150
//! tenants come and go each second. The server is killed every 30 s, and starts again 2 s later. The memory of
//! the replicas and of the server is printed every 10 s. In the end the layers are dropped, and no task may
//! be left.
//!
//! The server is killed when this program ends, also by Ctrl-C or SIGTERM. Replicas end with their parent.

mod arguments;
mod clock;
mod job;
mod parts;
mod replay;
mod replica;
mod replicas;
mod report;
mod run;
mod server;

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Arguments;
use crate::parts::load::Offered;
use crate::parts::outage::Fault;
use crate::parts::soak::Sample;
use crate::parts::{adversary, keys, load, outage, soak};
use crate::replicas::Replicas;
use crate::report::plot::Curve;
use crate::report::table::{Row, Verdict, table};
use crate::report::{goals, plot};
use crate::server::Server;

/// Runs the fleet. Exit codes: 0 for success, 1 if a goal was missed under `--check` or the fleet could not
/// run, 2 for invalid arguments or without redis-server.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.replica {
        return exit(replica::serve().map_err(Into::into));
    }
    exit(fleet(&arguments))
}

fn exit(done: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    if kind == Some(ErrorKind::NotFound) { ExitCode::from(2) } else { ExitCode::FAILURE }
}

#[tokio::main(flavor = "current_thread")]
async fn fleet(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut ended = signal(SignalKind::terminate())?;
    // Either way the server and the replicas are dropped, and thus killed.
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        _ = ended.recv() => Err("ended".into()),
        done = run(arguments) => done,
    }
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let server = start_server().await?;
    let rows = match arguments.soak {
        Some(seconds) => soak(server, Duration::from_secs(seconds.into())).await?,
        None => parts(server, &arguments.plot).await?,
    };
    println!("{}", table(&rows));
    if arguments.check { check(&rows) } else { Ok(()) }
}

async fn parts(mut server: Server, plot: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    create(plot)?;
    let mut four = Replicas::start(4)?;
    let steady = load::run(&server, &mut four, Offered { name: "steady", of_rate: 0.7 }).await?;
    let busy = load::run(&server, &mut four, Offered { name: "busy", of_rate: 0.9 }).await?;
    let overload =
        load::run(&server, &mut four, Offered { name: "overload", of_rate: 3.0 }).await?;
    let adversary = adversary::run(&server, &mut four).await?;
    let killed = outage::run(&mut server, &mut four, Fault::Killed).await?;
    let stopped = outage::run(&mut server, &mut four, Fault::Stopped).await?;
    let missed = keys::run(&server, &mut four).await?;
    let leader_killed = keys::kill_leader(&server, &mut four).await?;
    drop(four);
    let eight = Offered { name: "eight", of_rate: 3.0 };
    let eight = load::run(&server, &mut Replicas::start(8)?, eight).await?;
    let mut rows = goals::below_the_rate(&steady, &busy);
    rows.extend(goals::overload(4, &overload, 0.10));
    rows.extend(goals::overload(8, &eight, 0.19));
    rows.extend(goals::adversary(&adversary));
    rows.extend(goals::outage(&killed));
    rows.extend(goals::outage(&stopped));
    rows.extend(goals::keys(&missed, &leader_killed));
    let runs = [&steady, &busy, &overload, &eight, &adversary.run, &killed.run, &stopped.run];
    rows.push(goals::tasks(runs));
    let curves = [
        Curve { name: "70 % load", run: &steady },
        Curve { name: "three times the rate", run: &overload },
        Curve { name: "store killed", run: &killed.run },
        Curve { name: "store stopped", run: &stopped.run },
    ];
    plot::draw(plot, &[&killed, &stopped], &curves)?;
    println!("{}", plot.display());
    Ok(rows)
}

async fn soak(mut server: Server, time: Duration) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut replicas = Replicas::start(4)?;
    let see = |sample: &Sample| {
        let Sample { at, replicas_kib, server_bytes } = sample;
        println!("{at:>6.0?}: replicas {replicas_kib:?} KiB, server {} KiB", server_bytes / 1024);
    };
    Ok(goals::soak(&soak::run(&mut server, &mut replicas, time, see).await?))
}

async fn start_server() -> io::Result<Server> {
    Server::start().await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => io::Error::new(ErrorKind::NotFound, INSTALL),
        _ => error,
    })
}

fn create(plot: &Path) -> io::Result<()> {
    plot.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::File::create(plot).map(drop)
}

fn check(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let missed: Vec<_> = rows.iter().filter(|row| row.verdict == Verdict::Missed).collect();
    for row in &missed {
        eprintln!("missed: {}: {}, goal {}", row.what, row.measured, row.goal);
    }
    if missed.is_empty() { Ok(()) } else { Err("goals were missed".into()) }
}

const INSTALL: &str =
    "redis-server is not installed: `apt install redis-server` or `brew install redis`";

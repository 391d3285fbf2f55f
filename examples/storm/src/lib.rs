//! placeholder docs
mod arguments;
mod callers;
mod client;
mod controlled;
mod deck;
mod heap;
mod measure;
mod operations;
mod plot;
mod process;
mod progress;
mod report;
mod retries;
mod upstream;
mod weather;
mod wire;

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::Arguments;
use crate::client::{Client, Linear};
use crate::controlled::Allowance;
use crate::measure::Run;
use crate::process::Upstream;
use crate::progress::Progress;
use crate::report::Report;

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
    if arguments.includes(LINEAR) {
        runs.push(through(arguments, LINEAR, Linear::new).await?);
    }
    for (name, allowance) in CONTROLLED {
        if arguments.includes(name) {
            let fresh = || controlled::buttress(name, allowance, arguments.seed);
            runs.push(through(arguments, name, fresh).await?);
        }
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

const LINEAR: &str = "linear";

/// A network this bad needs a third of a retry a call, more than the default budget has.
const CONTROLLED: [(&str, Allowance); 2] = [
    ("buttress", Allowance { percent: 50 }),
    ("buttress-default-budget", Allowance { percent: 20 }),
];

/// One client's run, against an upstream of its own: first the heap in calm weather, then the storm.
async fn through<C: Client>(
    arguments: &Arguments,
    name: &'static str,
    fresh: impl Fn() -> C,
) -> io::Result<Run> {
    let mut upstream = Upstream::start(arguments.seed).await?;
    let peak_heap = heap::peak(&mut upstream, &fresh).await?;
    let operations: Arc<[_]> =
        operations::list(arguments.seed, arguments.operations as usize).into();
    let client = fresh();
    let mut progress = Progress::new(name, arguments.operations);
    retries::restart();
    upstream.begin().await?;
    let count = |record: &_| progress.count(record);
    let records =
        callers::run(&client, upstream.origin(), &operations, arguments.concurrency, count).await;
    progress.finish();
    Ok(Run {
        name,
        records,
        decisions: client.decisions(),
        peak_heap,
        weather: upstream.finish().await?,
    })
}

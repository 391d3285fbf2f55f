//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::upstream::conditions::Conditions;

/// Runs the same operations behind an unstable network, without layers and with several stacks of layers,
/// on real sockets, and compares the results.
#[derive(Clone, Debug, Parser)]
#[command(name = "storm")]
pub(crate) struct Arguments {
    /// Seed of the faults, the latencies and the keys
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Operations per client, 1 to 100000
    #[arg(long, value_name = "NUMBER", default_value_t = 2000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) operations: u32,

    /// Concurrent callers, 1 to 400; each has one operation at a time and begins at most two a second
    #[arg(long, value_name = "NUMBER", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=400))]
    pub(crate) concurrency: u32,

    /// Prints a JSON object instead of the table, and nothing else on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// The file of the plot
    #[arg(long, value_name = "FILE.svg", default_value = "target/storm.svg")]
    pub(crate) plot: PathBuf,

    /// The file of the plot of the scenarios
    #[arg(long, value_name = "FILE.svg", default_value = "target/storm_scenarios.svg")]
    pub(crate) scenario_plot: PathBuf,

    /// Runs only this client or scenario, to calibrate the faults; may be repeated
    #[arg(long, hide = true, value_name = "NAME", value_parser = crate::NAMES)]
    pub(crate) only: Vec<String>,

    /// Runs the upstream of another storm process
    #[arg(long, hide = true)]
    pub(crate) upstream: bool,

    /// The conditions of that upstream
    #[arg(long, hide = true, value_enum, default_value_t = Conditions::Storm)]
    pub(crate) conditions: Conditions,
}

impl Arguments {
    /// Whether the client or scenario of this name runs.
    pub(crate) fn includes(&self, name: &str) -> bool {
        if self.only.is_empty() {
            return !crate::EXTRA.contains(&name);
        }
        self.only.iter().any(|only| only == name)
    }

    pub(crate) fn includes_scenario(&self) -> bool {
        crate::SCENARIOS.into_iter().any(|name| self.includes(name))
    }
}

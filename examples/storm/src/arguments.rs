//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Runs the same operations against an upstream in bad weather, once with a client that controls
/// nothing and once with the buttress stack, on real sockets, and shows what the difference is.
#[derive(Clone, Debug, Parser)]
#[command(name = "storm")]
pub(crate) struct Arguments {
    /// Shuffles the faults, the latencies and the keys
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Operations per client, 1 to 100000
    #[arg(long, value_name = "NUMBER", default_value_t = 2000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) operations: u32,

    /// Callers, each with one operation at a time and at most two a second, 1 to 400
    #[arg(long, value_name = "NUMBER", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=400))]
    pub(crate) concurrency: u32,

    /// Prints one JSON object in place of the table, and nothing else on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Where the picture goes
    #[arg(long, value_name = "FILE.svg", default_value = "target/storm.svg")]
    pub(crate) plot: PathBuf,

    /// Runs this client alone, to calibrate the weather; may be repeated
    #[arg(long, hide = true, value_name = "NAME", value_parser = crate::NAMES)]
    pub(crate) only: Vec<String>,

    /// Is the upstream of another storm
    #[arg(long, hide = true)]
    pub(crate) upstream: bool,
}

impl Arguments {
    /// Whether the client of this name takes part.
    pub(crate) fn includes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

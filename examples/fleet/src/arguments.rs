//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Keeps a rate together in four processes, on a redis-server that this program starts, kills and stops.
#[derive(Clone, Debug, Parser)]
#[command(name = "fleet")]
pub(crate) struct Arguments {
    /// The file of the plot
    #[arg(value_name = "FILE.svg", default_value = "target/fleet.svg")]
    pub(crate) plot: PathBuf,

    /// Exits with 1 if a goal is missed that does not depend on a quiet machine
    #[arg(long)]
    pub(crate) check: bool,

    /// Runs for this time instead, kills the server every 30 s, and prints the memory of both sides
    #[arg(long, value_name = "SECONDS")]
    pub(crate) soak: Option<u32>,

    /// Runs a replica of another process
    #[arg(long, hide = true)]
    pub(crate) replica: bool,
}

//! The command line.

use clap::Parser;

/// Offers a server three times its capacity, first bare and then behind each kind of concurrency limit,
/// on real sockets, and shows how many responses came in time.
#[derive(Clone, Debug, Parser)]
#[command(name = "overload")]
pub(crate) struct Arguments {
    /// Seed of the arrivals and of the time each page takes
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Seconds of overload for each server, 2 to 3600
    #[arg(long, value_name = "NUMBER", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub(crate) seconds: u32,

    /// Prints a JSON object instead of the table, and nothing else on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Runs only this server; may be repeated
    #[arg(long, hide = true, value_name = "NAME", value_parser = crate::server::NAMES)]
    pub(crate) only: Vec<String>,

    /// Runs the named server of another overload process
    #[arg(long, hide = true, value_name = "NAME", value_parser = crate::server::NAMES)]
    pub(crate) server: Option<String>,
}

impl Arguments {
    /// Whether the server of this name runs.
    pub(crate) fn includes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

//! The command line.

use clap::Parser;

/// Puts three times the load that it can bear on a server, once bare and then behind each kind of
/// concurrency limit, on real sockets, and shows how much of its work was still of use to anybody.
#[derive(Clone, Debug, Parser)]
#[command(name = "overload")]
pub(crate) struct Arguments {
    /// Shuffles the arrivals and how long the work takes
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// How long the overload lasts for each server, 2 to 3600
    #[arg(long, value_name = "NUMBER", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub(crate) seconds: u32,

    /// Prints one JSON object in place of the table, and nothing else on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Runs this server alone; may be repeated
    #[arg(long, hide = true, value_name = "NAME", value_parser = crate::server::NAMES)]
    pub(crate) only: Vec<String>,

    /// Is that server of another overload
    #[arg(long, hide = true, value_name = "NAME", value_parser = crate::server::NAMES)]
    pub(crate) server: Option<String>,
}

impl Arguments {
    /// Whether the server of this name takes part.
    pub(crate) fn includes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

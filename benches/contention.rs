//! Prints how limits fare when two threads share them, and what shares answers when they ask for the
//! same: `cargo bench -p buttress-benches --bench contention`.
//!
//! Read the ratios of one run only. They take a machine with two idle cores.

use buttress_benches::{crowds, dedups, hits, print_contention, print_gatherings};

fn main() {
    let joins: Vec<_> = dedups().into_iter().map(|dedup| dedup.gathering).collect();
    let hits: Vec<_> = hits().into_iter().map(|hits| hits.gathering).collect();
    print_gatherings("joins", &joins);
    print_gatherings("hits", &hits);
    print_contention(&crowds());
}

//! Prints how limits fare when two threads share them: `cargo bench -p buttress-benches --bench contention`.
//!
//! Read the ratios of one run only. They take a machine with two idle cores.

use buttress_benches::{crowds, print_contention};

fn main() {
    print_contention(&crowds());
}

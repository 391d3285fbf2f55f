//! Prints the cost of one more call beside up to 100,000 others:
//! `cargo bench -p buttress-benches --bench growth`.

use buttress_benches::{growths, print_growth, run_requested_growth};

fn main() {
    let growths = growths();
    if !run_requested_growth(&growths) {
        print_growth(&growths);
    }
}

//! Prints how all limits fare when two threads share them:
//! `cargo bench -p buttress-peers --bench contention`.

use buttress_benches::{crowds, print_contention};

fn main() {
    let mut crowds = crowds();
    crowds.extend(buttress_peers::crowds());
    print_contention(&crowds);
}

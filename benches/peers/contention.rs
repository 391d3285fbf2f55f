//! Prints how all limits fare when two threads share them, and how what shares answers does when they
//! ask for the same: `cargo bench -p buttress-peers --bench contention`.

use buttress_benches::{crowds, print_contention, print_gatherings};
use buttress_peers::{dedups, hits};

fn main() {
    let joins: Vec<_> = dedups().into_iter().map(|dedup| dedup.gathering).collect();
    let hits: Vec<_> = hits().into_iter().map(|hits| hits.gathering).collect();
    print_gatherings("joins", &joins);
    print_gatherings("hits", &hits);
    let mut crowds = crowds();
    crowds.extend(buttress_peers::crowds());
    print_contention(&crowds);
}

//! Prints how all limits fare when two threads share them, and how what shares answers does when they
//! ask for the same: `cargo bench -p buttress-peers --bench contention`.

use buttress_benches::{crowds, dedups, hits, print_contention, print_gatherings};

fn main() {
    let joins = dedups().into_iter().chain(buttress_peers::dedups());
    let joins: Vec<_> = joins.map(|dedup| dedup.gathering).collect();
    let hits = hits().into_iter().chain(buttress_peers::hits());
    let hits: Vec<_> = hits.map(|hits| hits.gathering).collect();
    print_gatherings("joins", &joins);
    print_gatherings("hits", &hits);
    let mut crowds = crowds();
    crowds.extend(buttress_peers::crowds());
    print_contention(&crowds);
}

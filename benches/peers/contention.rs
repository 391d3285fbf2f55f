//! Prints the throughput of all limits, coalescers and caches that two threads share:
//! `cargo bench -p buttress-peers --bench contention`.

use buttress_benches::{
    coalescers, limit_contention, print_dedup_contention, print_limit_contention, response_caches,
};

fn main() {
    let joins = coalescers().into_iter().chain(buttress_peers::coalescers());
    let joins: Vec<_> = joins.map(|dedup| dedup.contention).collect();
    let response_caches = response_caches().into_iter().chain(buttress_peers::response_caches());
    let response_caches: Vec<_> =
        response_caches.map(|response_caches| response_caches.contention).collect();
    print_dedup_contention("joins", &joins);
    print_dedup_contention("hits", &response_caches);
    let mut limit_contention = limit_contention();
    limit_contention.extend(buttress_peers::limit_contention());
    print_limit_contention(&limit_contention);
}

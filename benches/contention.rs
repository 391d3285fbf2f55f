//! Prints the throughput of limits, coalescers, caches and stacks that two threads share:
//! `cargo bench -p buttress-benches --bench contention`.
//!
//! Compare ratios within one run only. The machine needs two idle cores.

use buttress_benches::{
    coalescers, limit_contention, print_dedup_contention, print_limit_contention,
    print_stack_contention, response_caches, stack_contention,
};

fn main() {
    let joins: Vec<_> = coalescers().into_iter().map(|dedup| dedup.contention).collect();
    let response_caches: Vec<_> =
        response_caches().into_iter().map(|response_caches| response_caches.contention).collect();
    print_dedup_contention("joins", &joins);
    print_dedup_contention("hits", &response_caches);
    print_limit_contention(&limit_contention());
    print_stack_contention(&stack_contention());
}

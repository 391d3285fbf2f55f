//! Prints the cost of waiting for another call's response:
//! `cargo bench -p buttress-benches --bench flight`.

use std::alloc::System;

use buttress_benches::{INSTRUMENTED_SYSTEM, StatsAlloc, coalescers, print_flights};

fn main() {
    let flights: Vec<_> = coalescers().into_iter().map(|dedup| dedup.flight).collect();
    print_flights(&flights, ALLOCATOR);
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

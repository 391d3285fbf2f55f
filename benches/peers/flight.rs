//! Prints the cost of waiting for another call's response:
//! `cargo bench -p buttress-peers --bench flight`.

use std::alloc::System;

use buttress_benches::{INSTRUMENTED_SYSTEM, StatsAlloc, coalescers, print_flights};

fn main() {
    let flights = coalescers().into_iter().chain(buttress_peers::coalescers());
    let flights: Vec<_> = flights.map(|dedup| dedup.flight).collect();
    print_flights(&flights, ALLOCATOR);
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

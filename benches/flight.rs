//! Prints what it takes to wait for another call's answer:
//! `cargo bench -p buttress-benches --bench flight`.

use std::alloc::System;

use buttress_benches::{INSTRUMENTED_SYSTEM, StatsAlloc, dedups, print_flights};

fn main() {
    let flights: Vec<_> = dedups().into_iter().map(|dedup| dedup.flight).collect();
    print_flights(&flights, ALLOCATOR);
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

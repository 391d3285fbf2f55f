//! Prints the bytes of a call that waits in a queue: `cargo bench -p buttress-benches --bench waiting`.

use std::alloc::System;

use buttress_benches::{INSTRUMENTED_SYSTEM, StatsAlloc, print_waiting, waiting_calls};

fn main() {
    print_waiting(&waiting_calls(), ALLOCATOR);
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

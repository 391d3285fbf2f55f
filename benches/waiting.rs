//! Prints what a call takes while it waits: `cargo bench -p buttress-benches --bench waiting`.

use std::alloc::System;

use buttress_benches::{INSTRUMENTED_SYSTEM, StatsAlloc, lines, print_waiting};

fn main() {
    print_waiting(&lines(), ALLOCATOR);
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

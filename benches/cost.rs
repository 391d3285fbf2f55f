//! Prints the cost of each layer as a table: `cargo bench -p buttress-benches --bench cost`.

use std::alloc::System;

use buttress_benches::{INSTRUMENTED_SYSTEM, StatsAlloc, cases, print_costs, run_requested_case};

fn main() {
    let cases = cases();
    if !run_requested_case(&cases) {
        print_costs(&cases, ALLOCATOR);
    }
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

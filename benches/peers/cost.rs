//! Prints the cost of other crates' layers as a table: `cargo bench -p buttress-peers --bench cost`.

use std::alloc::System;

use buttress_benches::{
    INSTRUMENTED_SYSTEM, StatsAlloc, print_costs, reference_cases, run_requested_case,
};

fn main() {
    let mut cases = reference_cases();
    cases.extend(buttress_peers::cases());
    if !run_requested_case(&cases) {
        print_costs(&cases, ALLOCATOR);
    }
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

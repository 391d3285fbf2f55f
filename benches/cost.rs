//! Prints what each layer costs, as one table: `cargo bench -p buttress-benches --bench cost`.

use std::alloc::System;

use buttress_benches::{INSTRUMENTED_SYSTEM, StatsAlloc, answer_if_asked, cases, print};

fn main() {
    let cases = cases();
    if !answer_if_asked(&cases) {
        print(&cases, ALLOCATOR);
    }
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

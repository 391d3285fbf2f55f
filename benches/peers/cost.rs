//! Prints what other crates' layers cost, as one table: `cargo bench -p buttress-peers --bench cost`.

use std::alloc::System;

use buttress_benches::{INSTRUMENTED_SYSTEM, StatsAlloc, answer_if_asked, of_tower, print};

fn main() {
    let mut cases = of_tower();
    cases.extend(buttress_peers::cases());
    if !answer_if_asked(&cases) {
        print(&cases, ALLOCATOR);
    }
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

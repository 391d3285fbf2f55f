//! Measures the time per call of each layer, with the distribution: `cargo bench -p buttress-benches --bench wall`.
//!
//! Compare the times of one run only, as ratios. Machines and runs differ.

use std::time::Instant;

use buttress_benches::{Inner, cases, enter_runtime};
use criterion::Criterion;

#[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
fn main() {
    let runtime = enter_runtime();
    let _entered = runtime.enter();
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases() {
        for inner in [Inner::Ready, Inner::Pend] {
            criterion.bench_function(&format!("{case}, {inner:?}"), |bencher| {
                bencher.iter_custom(|calls| {
                    let began = Instant::now();
                    case.run(inner, calls);
                    began.elapsed()
                });
            });
        }
    }
    criterion.final_summary();
}

use std::hint::black_box;

use crate::{Case, Inner, callgrind, enter_runtime};

/// If the bench started this process under callgrind, runs the requested case and returns `true`.
pub fn run_requested_case(cases: &[Case]) -> bool {
    let Some(requested) = callgrind::requested() else { return false };
    let mut words = requested.splitn(3, ' ');
    let (Some(inner), Some(calls), Some(name)) = (words.next(), words.next(), words.next()) else {
        return true;
    };
    let inner = if inner == "ready" { Inner::Ready } else { Inner::Pend };
    let case = cases.iter().find(|case| case.to_string() == name);
    if let (Some(case), Ok(calls)) = (case, calls.parse()) {
        let runtime = enter_runtime();
        let _entered = runtime.enter();
        // The first call of a process does work that no later call does: some clocks calibrate themselves.
        case.run(inner, 1);
        callgrind::counted_run(&mut || {
            black_box(case.run(inner, calls));
        });
    }
    true
}

/// Returns the instructions per call, or `None` without valgrind.
pub(crate) fn per_call(case: &Case, inner: Inner) -> Option<i64> {
    let twice = callgrind::count(&request(case, inner, 2 * CALLS))?;
    let once = callgrind::count(&request(case, inner, CALLS))?;
    Some((twice - once + CALLS / 2) / CALLS)
}

/// The request of a process that makes `calls` calls.
pub(crate) fn request(case: &Case, inner: Inner, calls: i64) -> String {
    let inner = if inner == Inner::Ready { "ready" } else { "pend" };
    format!("{inner} {calls} {case}")
}

// A multiple of 64, so that all rounds of 64 concurrent callers are full.
const CALLS: i64 = 2_048;

use std::{env, hint::black_box, process::Command};

use crate::{Case, Inner, enter_runtime};

/// If the bench started this process under callgrind, runs the requested case and returns `true`.
pub fn run_requested_case(cases: &[Case]) -> bool {
    let Ok(requested) = env::var(REQUESTED) else { return false };
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
        counted_run(case, inner, calls);
    }
    true
}

/// Callgrind counts the instructions in this function, which `--toggle-collect` finds by name.
#[inline(never)]
fn counted_run(case: &Case, inner: Inner, calls: u64) -> usize {
    black_box(case.run(inner, calls))
}

/// Returns the instructions per call, or `None` without valgrind.
pub(crate) fn per_call(case: &Case, inner: Inner) -> Option<i64> {
    let twice = count(case, inner, 2 * CALLS)?;
    let once = count(case, inner, CALLS)?;
    Some((twice - once + CALLS / 2) / CALLS)
}

/// Counts the instructions of a process that makes `calls` calls.
fn count(case: &Case, inner: Inner, calls: i64) -> Option<i64> {
    let inner = if inner == Inner::Ready { "ready" } else { "pend" };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_run*")
        .arg(env::current_exe().ok()?)
        .env(REQUESTED, format!("{inner} {calls} {case}"))
        .output()
        .ok()?;
    // The last lines read "==123== Collected : 456".
    let report = String::from_utf8_lossy(&output.stderr);
    report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

const REQUESTED: &str = "BUTTRESS_BENCH_CASE";
// A multiple of 64, so that all rounds of 64 concurrent callers are full.
const CALLS: i64 = 2_048;

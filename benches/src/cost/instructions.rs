use std::{env, hint::black_box, process::Command};

use crate::{Case, Inner, enter_runtime};

/// Runs one case and says so, if this process was started by the bench to be counted.
pub fn answer_if_asked(cases: &[Case]) -> bool {
    let Ok(asked) = env::var(ASKED) else { return false };
    let mut words = asked.splitn(3, ' ');
    let (Some(inner), Some(calls), Some(name)) = (words.next(), words.next(), words.next()) else {
        return true;
    };
    let inner = if inner == "ready" { Inner::Ready } else { Inner::Pend };
    let case = cases.iter().find(|case| case.to_string() == name);
    if let (Some(case), Ok(calls)) = (case, calls.parse()) {
        let runtime = enter_runtime();
        let _entered = runtime.enter();
        // What is done once, on the first call of a process, is not part of a call: some clocks find
        // out how fast they run.
        case.run(inner, 1);
        counted_run(case, inner, calls);
    }
    true
}

/// Callgrind counts what happens in here, going by the name.
#[inline(never)]
fn counted_run(case: &Case, inner: Inner, calls: u64) -> usize {
    black_box(case.run(inner, calls))
}

/// Instructions per call. `None` if there is no valgrind.
pub(crate) fn per_call(case: &Case, inner: Inner) -> Option<i64> {
    let twice = in_all(case, inner, 2 * CALLS)?;
    let once = in_all(case, inner, CALLS)?;
    Some((twice - once + CALLS / 2) / CALLS)
}

/// Instructions of a process that makes so many calls.
fn in_all(case: &Case, inner: Inner, calls: i64) -> Option<i64> {
    let inner = if inner == Inner::Ready { "ready" } else { "pend" };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_run*")
        .arg(env::current_exe().ok()?)
        .env(ASKED, format!("{inner} {calls} {case}"))
        .output()
        .ok()?;
    // The last lines read "==123== Collected : 456".
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

const ASKED: &str = "BUTTRESS_BENCH_CASE";
// Whole rounds of 64 callers.
const CALLS: i64 = 2_048;

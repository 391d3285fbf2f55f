//! Counts of instructions: the bench runs itself under callgrind and asks the process for one case.

mod atomic_writes;
mod source_functions;

use std::{env, path::Path, process::Command};

pub(crate) use atomic_writes::AtomicWrites;
pub(crate) use source_functions::source_functions;

/// Returns the case that the bench requested of this process, if the bench started this process.
pub(crate) fn requested() -> Option<String> {
    env::var(REQUESTED).ok()
}

/// Callgrind counts the instructions in this function, which `--toggle-collect` finds by name.
#[inline(never)]
pub(crate) fn counted_run(run: &mut dyn FnMut()) {
    run();
}

/// Returns the instructions that a process with `request` spends in [`counted_run`], or `None` without
/// valgrind.
pub(crate) fn count(request: &str) -> Option<i64> {
    let report = run(request, Path::new("/dev/null"), &[])?;
    // The last lines read "==123== Collected : 456".
    report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

/// Runs a process with `request` under callgrind, which writes the counts of each line to `profile`.
/// Returns what callgrind reports.
fn run(request: &str, profile: &Path, options: &[&str]) -> Option<String> {
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg("--toggle-collect=*counted_run*")
        .args(options)
        .arg(env::current_exe().ok()?)
        .env(REQUESTED, request)
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

const REQUESTED: &str = "BUTTRESS_BENCH_CASE";

//! Atomic writes per call. Threads that share a layer wait for each other in some of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Case, Inner, Pattern, Workload,
    callgrind::{AtomicWrites, source_functions},
    cases::settings::{BUTTRESS, TOWER},
    cost::instructions::request,
};

/// Prints the atomic writes per call of the layers as a Markdown table, and where they are.
pub fn print_shared_writes(cases: &[Case]) {
    let Some(atomic_writes) = AtomicWrites::of_this_executable() else {
        println!("objdump is not installed, or this is no x86-64: atomic writes are not counted.");
        return;
    };
    let Some(rows) = rows(cases, &atomic_writes) else {
        println!("valgrind is not installed, so atomic writes are not counted.");
        return;
    };
    println!("| layer | calls | by | ready | pend |");
    println!("|---|---|---|--:|--:|");
    for Row { case, ready, pend } in &rows {
        println!("| {} | {} | {} |", described(case), total(ready), total(pend));
    }
    println!();
    println!("Atomic read-modify-writes per call: instructions with a `lock` prefix, and `xchg`");
    println!(
        "with memory. Those of the bare service are subtracted. The count includes locks that"
    );
    println!(
        "no other thread wants, copies that a thread has of its own, and reference counts of a"
    );
    println!(
        "task's own waker. Stores that are plain instructions are not counted. The next table"
    );
    println!("says where the writes are.\n");
    println!("| layer | calls | by | per pending call | in |");
    println!("|---|---|---|--:|---|");
    let addresses: BTreeSet<u64> = rows.iter().flat_map(|row| row.pend.keys().copied()).collect();
    let functions = source_functions(&addresses.into_iter().collect::<Vec<_>>());
    for Row { case, pend, .. } in &rows {
        for (function, count) in by_function(pend, &functions) {
            println!("| {} | {} | {function} |", described(case), per_call(count));
        }
    }
}

/// The atomic writes of [`CALLS`] calls, by address.
type Writes = BTreeMap<u64, i64>;

struct Row<'a> {
    case: &'a Case,
    ready: Writes,
    pend: Writes,
}

/// Returns `None` without valgrind.
fn rows<'a>(cases: &'a [Case], atomic_writes: &AtomicWrites) -> Option<Vec<Row<'a>>> {
    let shown = cases.iter().filter(|case| is_shown(case));
    let mut rows: Vec<_> = shown
        .map(|case| {
            let ready = writes(case, Inner::Ready, atomic_writes)?;
            Some(Row { case, ready, pend: writes(case, Inner::Pend, atomic_writes)? })
        })
        .collect::<Option<_>>()?;
    rows.sort_by_key(|row| (row.case.workload as u8, row.case.pattern as u8));
    Some(rows)
}

/// The bare service is not shown: it has no atomic write of its own.
fn is_shown(case: &Case) -> bool {
    let Case { pattern, provider, workload, .. } = case;
    let is_shown = match *provider {
        BUTTRESS => SHOWN.contains(pattern),
        TOWER => SHOWN.contains(pattern) && *pattern != Pattern::Rate,
        _ => false,
    };
    is_shown && *workload != Workload::Concurrent
}

/// The writes of a case's calls, without those of setting up the case.
fn writes(case: &Case, inner: Inner, atomic_writes: &AtomicWrites) -> Option<Writes> {
    let mut writes = atomic_writes.count(&request(case, inner, 2 * CALLS))?;
    for (address, count) in atomic_writes.count(&request(case, inner, CALLS))? {
        *writes.entry(address).or_default() -= count;
    }
    Some(writes)
}

/// The writes per function, the greatest number first.
fn by_function<'a>(writes: &Writes, functions: &'a BTreeMap<u64, String>) -> Vec<(&'a str, i64)> {
    let mut sums = BTreeMap::new();
    for (address, &count) in writes.iter().filter(|(_, count)| **count > 0) {
        let function = functions.get(address).map_or("?", String::as_str);
        *sums.entry(function).or_default() += count;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| -count);
    sums
}

fn described(case: &Case) -> String {
    format!("{} | {} | {}", case.pattern.as_str(), case.workload.as_str(), case.provider)
}

fn total(writes: &Writes) -> String {
    per_call(writes.values().sum())
}

/// A count of [`CALLS`] calls as a count per call. Some writes are not made in every call.
fn per_call(count: i64) -> String {
    let tenths = (count * 10 + CALLS / 2) / CALLS;
    if tenths % 10 == 0 {
        format!("{}", tenths / 10)
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

const SHOWN: [Pattern; 7] = [
    Pattern::Deadline,
    Pattern::Retry,
    Pattern::Concurrency,
    Pattern::Rate,
    Pattern::Breaker,
    Pattern::Hedge,
    Pattern::LimitedStack,
];
const CALLS: i64 = 512;

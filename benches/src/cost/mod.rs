pub(crate) mod instructions;

use std::{
    alloc::System,
    time::{Duration, Instant},
};

use stats_alloc::{Region, StatsAlloc};

pub use instructions::run_requested_case;

use crate::{Case, Inner, Pattern, Workload, cases::settings::TOWER, enter_runtime};

/// Prints the cost of all cases as a Markdown table.
pub fn print_costs(cases: &[Case], allocator: &StatsAlloc<System>) {
    let counted = cases.first().and_then(|case| instructions::per_call(case, Inner::Ready));
    if counted.is_none() {
        println!("valgrind is not installed, so instructions are not counted.\n");
    }
    let runtime = enter_runtime();
    let _entered = runtime.enter();
    let rows = Row::all(cases, allocator, counted.is_some());
    println!(
        "| layer | calls | by | Ir ready | Ir pend | allocations | bytes in flight | time ready | time pend |"
    );
    println!("|---|---|---|--:|--:|--:|--:|--:|--:|");
    for row in &rows {
        row.print(&rows);
    }
    println!();
    println!("Per call. Ir: instructions. The bare service is subtracted from all other rows.");
    println!(
        "Time: the ratio to tower's layer with the same calls, or ns if tower has no such layer."
    );
}

struct Row<'a> {
    case: &'a Case,
    ready: Measurement,
    pend: Measurement,
}

#[derive(Clone, Copy)]
struct Measurement {
    instructions: Option<i64>,
    allocations: i64,
    bytes: i64,
    nanos: f64,
}

impl<'a> Row<'a> {
    fn all(cases: &'a [Case], allocator: &StatsAlloc<System>, counted: bool) -> Vec<Self> {
        let ready = Measurement::of_all(cases, Inner::Ready, allocator, counted);
        let pend = Measurement::of_all(cases, Inner::Pend, allocator, counted);
        let measurements = ready.into_iter().zip(pend);
        let mut rows: Vec<_> = cases
            .iter()
            .zip(measurements)
            .map(|(case, (ready, pend))| Self { case, ready, pend })
            .collect();
        rows.sort_by_key(|row| (row.case.pattern as u8, row.case.workload as u8));
        rows
    }

    fn print(&self, rows: &[Row<'_>]) {
        let Case { pattern, provider, workload, .. } = self.case;
        let find = |pattern, provider| {
            rows.iter().find(|row| {
                row.case.workload == *workload
                    && row.case.pattern == pattern
                    && is_provided_by(row, provider)
            })
        };
        let bare = if *pattern == Pattern::Bare { None } else { find(Pattern::Bare, None) };
        let tower = if bare.is_some() { find(*pattern, Some(TOWER)) } else { None };
        let ready = self.ready.minus(bare.map(|row| row.ready));
        let pend = self.pend.minus(bare.map(|row| row.pend));
        // If the inner service responds at once, concurrent calls do not overlap and share nothing.
        let allocations = match workload {
            Workload::Concurrent => pend.allocations,
            _ => pend.allocations.max(ready.allocations),
        };
        println!(
            "| {} | {} | {provider} | {} | {} | {} | {} | {} | {} |",
            pattern.as_str(),
            workload.as_str(),
            ready.instructions(),
            pend.instructions(),
            allocations,
            pend.bytes,
            ready.time(tower.map(|row| row.ready.minus(bare.map(|row| row.ready)))),
            pend.time(tower.map(|row| row.pend.minus(bare.map(|row| row.pend)))),
        );
    }
}

impl Measurement {
    fn of_all(
        cases: &[Case],
        inner: Inner,
        allocator: &StatsAlloc<System>,
        counted: bool,
    ) -> Vec<Self> {
        let measurements = cases.iter().zip(nanos(cases, inner)).map(|(case, nanos)| {
            let instructions = if counted { instructions::per_call(case, inner) } else { None };
            let (allocations, bytes) = memory(case, inner, allocator);
            Self { instructions, allocations, bytes, nanos }
        });
        measurements.collect()
    }

    fn minus(self, bare: Option<Self>) -> Self {
        let Some(bare) = bare else { return self };
        Self {
            instructions: self.instructions.zip(bare.instructions).map(|(own, bare)| own - bare),
            allocations: self.allocations - bare.allocations,
            bytes: self.bytes - bare.bytes,
            nanos: self.nanos - bare.nanos,
        }
    }

    fn instructions(self) -> String {
        self.instructions.map_or_else(|| "?".to_owned(), |count| count.to_string())
    }

    fn time(self, tower: Option<Self>) -> String {
        match tower {
            None => format!("{:.0} ns", self.nanos),
            Some(tower) => format!("{:.2} ×", self.nanos / tower.nanos),
        }
    }
}

fn is_provided_by(row: &Row<'_>, provider: Option<&str>) -> bool {
    provider.is_none_or(|provider| row.case.provider == provider)
}

/// Returns the allocations per call, and the bytes of a call in flight: the future and its allocations.
fn memory(case: &Case, inner: Inner, allocator: &StatsAlloc<System>) -> (i64, i64) {
    let total = |calls| {
        let region = Region::new(allocator);
        let size = case.run(inner, calls);
        let change = region.change();
        let to_signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        (
            to_signed(change.allocations + change.reallocations),
            to_signed(change.bytes_allocated),
            to_signed(size),
        )
    };
    let calls = i64::try_from(MEMORY_CALLS).unwrap_or(1);
    let (once, twice) = (total(MEMORY_CALLS), total(2 * MEMORY_CALLS));
    ((twice.0 - once.0) / calls, (twice.1 - once.1) / calls + twice.2)
}

/// Returns the nanoseconds per call of each case: the median of rounds that run every case once.
fn nanos(cases: &[Case], inner: Inner) -> Vec<f64> {
    let mut rounds = vec![Vec::with_capacity(ROUNDS); cases.len()];
    for _ in 0..ROUNDS {
        for (case, times) in cases.iter().zip(&mut rounds) {
            case.run(inner, ROUND_CALLS / 10);
            times.push(time(|| case.run(inner, ROUND_CALLS)));
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.get(ROUNDS / 2).copied().unwrap_or_default()
    };
    let calls = f64::from(u32::try_from(ROUND_CALLS).unwrap_or(1));
    rounds.into_iter().map(|times| median(times).as_secs_f64() * 1e9 / calls).collect()
}

#[expect(clippy::disallowed_methods, reason = "this measures the machine, not a layer's time")]
fn time<R>(f: impl FnOnce() -> R) -> Duration {
    let began = Instant::now();
    f();
    began.elapsed()
}

// Multiples of 64, so that all rounds of 64 concurrent callers are full.
const MEMORY_CALLS: u64 = 1_024;
const ROUND_CALLS: u64 = 20_480;
const ROUNDS: usize = 31;

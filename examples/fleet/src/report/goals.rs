//! The goals, beside what was measured.

use std::time::Duration;

use crate::job::{Call, Counts, Decision};
use crate::parts::{
    adversary::Adversary,
    keys::{self, LeaderKilled, Missed},
    load::{self, most_trips},
    outage::{self, Fault, Outage},
    soak::Soak,
};
use crate::report::table::Row;
use crate::run::{Run, percentile, ratio};

/// Returns the rows of a load below the rate.
pub(crate) fn below_the_rate(steady: &Run, busy: &Run) -> Vec<Row> {
    let trips = steady.trips_per_admission();
    let decisions = steady.decisions(0..u64::MAX);
    let [p50, p99] = [50, 99].map(|percent| percentile(&decisions, percent));
    let denied = busy.count(|call| !call.is_admitted());
    vec![
        Row::new("70 % load: trips per admission", "≤ 0.06", format!("{trips:.4}"))
            .checked(trips <= 0.06),
        excess("70 % load: calls over rate and burst", steady),
        Row::new("70 % load: decision p50", "≤ 1 µs", format!("{p50:.1?}"))
            .timed(p50 <= Duration::from_micros(1)),
        Row::new("70 % load: decision p99", "≤ 1 ms", format!("{p99:.1?}"))
            .timed(p99 <= Duration::from_millis(1)),
        Row::new("90 % load: calls denied", "0", denied.to_string())
            .unless(denied == 0, busy.is_disturbed()),
    ]
}

/// Returns the rows of three times the rate.
pub(crate) fn overload(replicas: u32, run: &Run, goal: f64) -> Vec<Row> {
    let name = |what: &str| format!("3 × the rate, {replicas} replicas: {what}");
    let trips = run.trips_per_admission();
    let per_second = ratio(run.count(Call::is_admitted), 1) / load::TIME.as_secs_f64();
    let most = most_trips(replicas, per_second, true).min(goal);
    let part = 100.0 * run.admitted_part();
    vec![
        Row::new(&name("trips per admission"), format!("≤ {most:.3}"), format!("{trips:.4}"))
            .checked(trips <= most),
        Row::new(&name("admitted of what one bucket would"), "≥ 97 %", format!("{part:.1} %"))
            .checked(part >= 97.0),
        excess(&name("calls over rate and burst"), run),
    ]
}

pub(crate) fn adversary(adversary: &Adversary) -> Vec<Row> {
    let held = adversary.most_held.to_string();
    vec![
        Row::new("adversary: cells held before all is spent", "", held),
        excess("adversary: calls over rate and burst", &adversary.run),
    ]
}

/// Returns the rows of an outage, as a caller sees it.
pub(crate) fn outage(outage: &Outage) -> Vec<Row> {
    let fault = if outage.fault == Fault::Killed { "killed" } else { "stopped" };
    let name = |what: &str| format!("store {fault} for 2 s: {what}");
    let decisions = outage.decisions();
    let slowest = decisions.last().copied().unwrap_or_default();
    let p99 = percentile(&decisions, 99);
    let errors = outage.errors();
    let admitted = outage.admitted();
    let time = outage.time().as_secs_f64();
    let most = f64::from(outage::RATE) * time + f64::from(outage::BURST);
    let is_bounded = ratio(admitted, 1) <= most;
    let back = outage.back_after();
    let debt = outage.run.sum(|counts| counts.debt);
    vec![
        Row::new(&name("errors that callers see"), "0", errors.to_string()).checked(errors == 0),
        Row::new(&name("admitted"), format!("≤ {most:.0}"), admitted.to_string())
            .checked(is_bounded),
        over_in_all(&name("calls over rate and burst, whole run"), outage),
        Row::new(&name("debt that is not reported at the end"), "0", debt.to_string())
            .unless(debt == 0, back.is_none()),
        Row::new(&name("slowest decision"), "≤ 40 ms", format!("{slowest:.1?}"))
            .timed(slowest <= Duration::from_millis(40)),
        Row::new(&name("decision p99"), "≤ 1 ms", format!("{p99:.1?}"))
            .timed(p99 <= Duration::from_millis(1)),
        Row::new(&name("back on the store after"), "≤ 500 ms", within(back))
            .timed(back.is_some_and(|back| back <= Duration::from_millis(500))),
    ]
}

fn within(time: Option<Duration>) -> String {
    time.map_or_else(|| "not at all".to_owned(), |time| format!("{time:.0?}"))
}

/// A row of the calls over rate and burst. The clocks and the way to the service explain 1 % of the burst.
fn excess(what: &str, run: &Run) -> Row {
    let (over, most) = (run.excess(), f64::from(run.burst) / 100.0);
    let bound = most + run.cut_off(0..0);
    Row::new(what, format!("≤ {most:.0}"), format!("{over:.1}")).graded(over, most, bound)
}

/// A row of the calls over rate and burst, of a run with an outage.
///
/// Replicas that still hold cells when the others already live on their shares can spend the reserve on top.
fn over_in_all(what: &str, outage: &Outage) -> Row {
    let run = &outage.run;
    let (over, most) = (run.excess(), f64::from(run.burst) / 50.0);
    let bound = most + load::RESERVE * f64::from(run.burst) + run.cut_off(outage.away.clone());
    Row::new(what, format!("≤ {most:.0}"), format!("{over:.1}")).graded(over, most, bound)
}

/// Returns the rows of keys that all replicas need at the same time.
pub(crate) fn keys(missed: &Missed, killed: &LeaderKilled) -> Vec<Row> {
    let runs = ratio(missed.runs(), missed.keys.into());
    let wake = percentile(&missed.wakes(), 99);
    let after = killed.missed.last_response(killed.at);
    let most = keys::LEASE + keys::WORK + Duration::from_millis(100);
    let failed = missed.failed() + killed.missed.failed();
    let runs_after = ratio(killed.missed.runs(), killed.missed.keys.into());
    vec![
        Row::new("shared cache: runs per missed key in the fleet", "1.00", format!("{runs:.2}"))
            .graded(runs, 1.0, 4.0),
        Row::new("shared cache: response in other replicas p99", "≤ 25 ms", format!("{wake:.1?}"))
            .timed(wake <= Duration::from_millis(25)),
        Row::new(
            "leader killed: last response after",
            format!("≤ {most:.0?}"),
            format!("{after:.0?}"),
        )
        .timed(after <= most),
        Row::new("leader killed: further runs per key", "1.00", format!("{runs_after:.2}"))
            .graded(runs_after, 1.0, 3.0),
        Row::new("shared cache: errors that callers see", "0", failed.to_string())
            .checked(failed == 0),
    ]
}

pub(crate) fn soak(soak: &Soak) -> Vec<Row> {
    let row = |what: &str, goal: &str, value: String| Row::new(what, goal, value);
    let mut rows = vec![row("kills of the server", "", soak.kills.to_string())];
    for (side, [early, late]) in [
        ("replicas", [1, 4].map(|fifth| soak.replicas_kib(fifth))),
        ("server", [1, 4].map(|fifth| soak.server_kib(fifth))),
    ] {
        let most = early + early / 10 + 2048;
        let what = format!("memory of the {side} in the second and the last fifth");
        let goal = format!("≤ {most} KiB");
        rows.push(row(&what, &goal, format!("{early} → {late} KiB")).checked(late <= most));
    }
    let reports = &soak.run.reports;
    let failed: u64 = reports.iter().map(|report| report.failed).sum();
    let slowest = reports.iter().map(|report| report.slowest).max().unwrap_or_default();
    let trips = soak.run.trips_per_admission();
    let count = |count: fn(&Counts) -> u64| soak.run.sum(count).to_string();
    rows.extend([
        row("errors that callers see", "0", failed.to_string()).checked(failed == 0),
        row("tasks left after the layers", "0", soak.run.tasks_left().to_string())
            .checked(soak.run.tasks_left() == 0),
        row("admitted by the rate of all tenants", "", count(|counts| counts.admitted)),
        row("of them without the store", "", count(|counts| counts.away_admitted)),
        row("debt that is not reported at the end", "0", count(|counts| counts.debt)),
        row("lost states that a replica expected", "", count(|counts| counts.losses)),
        row("trips per admission", "", format!("{trips:.4}")),
        row("slowest decision", "", format!("{slowest:.1?}")),
    ]);
    rows
}

/// Returns the row of all runs together.
pub(crate) fn tasks<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Row {
    let (mut tasks, mut errors) = (0, 0);
    for run in runs {
        tasks += run.tasks_left();
        errors += run.count(|call| call.2 == Decision::Error);
    }
    Row::new("all parts: tasks left, errors that callers see", "0, 0", format!("{tasks}, {errors}"))
        .checked(tasks == 0 && errors == 0)
}

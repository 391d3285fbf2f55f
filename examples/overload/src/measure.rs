//! The results of a run.

use std::time::Duration;

use serde::Serialize;

use crate::callers::{Outcome, Record};
use crate::server::ServerSnapshot;
use crate::worker_pool;

/// The results of a server: a member of `servers` in the JSON, whose keys are stable.
///
/// If not stated otherwise, a number counts requests whose result came during the overload and after its
/// first second.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) offered_per_second: f64,
    /// Responses in time, per second.
    pub(crate) goodput_per_second: f64,
    /// The same as a share of the capacity.
    pub(crate) goodput: f64,
    /// Latency of the responses in time.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) rejected: usize,
    pub(crate) timed_out: usize,
    pub(crate) failed: usize,
    pub(crate) not_sent: usize,
    /// The largest delay of the callers' process in the whole run.
    ///
    /// If this is more than about 10 ms, the machine was too busy and the other numbers mean less.
    pub(crate) late_ms: f64,
    /// Heap of the server's process before the first request.
    pub(crate) heap_start_bytes: usize,
    /// Heap in the middle of the overload.
    pub(crate) heap_half_bytes: usize,
    /// Heap at the end of the overload.
    pub(crate) heap_end_bytes: usize,
    /// The most jobs in the pool at once, in the whole overload.
    pub(crate) most_jobs: usize,
    /// The concurrency limit at the end of the overload; `null` without a layer.
    pub(crate) limit: Option<u32>,
    /// The share of responses in time among the requests after the overload, at half the capacity.
    pub(crate) recovered: f64,
}

/// The measurements of a server's run.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) records: Vec<Record>,
    /// The end of the overload, since the start of the run.
    pub(crate) overload: Duration,
    pub(crate) start: ServerSnapshot,
    pub(crate) half: ServerSnapshot,
    pub(crate) end: ServerSnapshot,
}

impl Run {
    pub(crate) fn row(&self) -> Row {
        let seconds = self.overload.saturating_sub(WARM_UP).as_secs_f64();
        let within = |time: Duration| (WARM_UP..self.overload).contains(&time);
        let over: Vec<_> =
            self.records.iter().filter(|record| within(record.due + record.took)).collect();
        let count = |outcome| over.iter().filter(|record| record.outcome == outcome).count();
        let served = over.iter().filter(|record| record.outcome == Outcome::Served);
        let mut took: Vec<_> = served.map(|record| record.took).collect();
        took.sort_unstable();
        let goodput = number(took.len()) / seconds;
        let made = self.records.iter().filter(|record| within(record.due)).count();
        Row {
            name: self.name,
            offered_per_second: number(made) / seconds,
            goodput_per_second: goodput,
            goodput: goodput / worker_pool::capacity(),
            p50_ms: percentile(&took, 50),
            p99_ms: percentile(&took, 99),
            rejected: count(Outcome::Rejected),
            timed_out: count(Outcome::TimedOut),
            failed: count(Outcome::Failed),
            not_sent: count(Outcome::NotSent),
            late_ms: millis(
                self.records.iter().map(|record| record.late).max().unwrap_or_default(),
            ),
            heap_start_bytes: self.start.heap_bytes,
            heap_half_bytes: self.half.heap_bytes,
            heap_end_bytes: self.end.heap_bytes,
            most_jobs: self.end.most_jobs,
            limit: self.end.limit,
            recovered: self.recovered(),
        }
    }

    fn recovered(&self) -> f64 {
        let after = self.records.iter().filter(|record| record.due >= self.overload);
        let served = after.clone().filter(|record| record.outcome == Outcome::Served);
        number(served.count()) / number(after.count().max(1))
    }
}

/// Returns the percentile by nearest rank in milliseconds, or `None` if there are no values.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map(millis)
}

/// Converts to milliseconds, rounded to the microsecond.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

/// The time in which the queues fill and a bare server still responds in time.
const WARM_UP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn record(due: u64, took: u64, outcome: Outcome) -> Record {
        let [due, took] = [due, took].map(Duration::from_millis);
        Record { due, late: Duration::ZERO, took, outcome }
    }

    fn run(records: Vec<Record>) -> Run {
        let [start, half, end] = [ServerSnapshot::default(); 3];
        Run { name: "test", records, overload: Duration::from_secs(3), start, half, end }
    }

    #[test]
    fn goodput_counts_responses_in_time_after_the_warm_up_and_within_the_overload() {
        let run = run(vec![
            record(500, 100, Outcome::Served),
            record(900, 200, Outcome::Served),
            record(1_500, 5, Outcome::Rejected),
            record(2_000, 500, Outcome::TimedOut),
            record(2_800, 100, Outcome::Served),
            record(2_900, 200, Outcome::Served),
        ]);
        let row = run.row();
        assert!((row.goodput_per_second - 1.0).abs() < 1e-9, "two in two seconds");
        assert!((row.goodput * worker_pool::capacity() - 1.0).abs() < 1e-9);
        assert!((row.offered_per_second - 2.0).abs() < 1e-9, "four in two seconds");
        assert_eq!((row.p50_ms, row.p99_ms), (Some(100.0), Some(200.0)));
        assert_eq!((row.rejected, row.timed_out, row.failed, row.not_sent), (1, 1, 0, 0));
    }

    #[test]
    fn recovery_counts_only_requests_after_the_overload() {
        let row = run(vec![
            record(2_900, 200, Outcome::Served),
            record(3_000, 10, Outcome::Served),
            record(3_100, 500, Outcome::TimedOut),
        ])
        .row();
        assert!((row.recovered - 0.5).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_none_if_no_response_came_in_time() {
        let row = run(vec![record(1_500, 500, Outcome::TimedOut)]).row();
        assert_eq!((row.p50_ms, row.p99_ms), (None, None));
        assert!(row.goodput.abs() < 1e-9);
    }
}

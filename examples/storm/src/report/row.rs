//! The results of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::callers::Record;
use crate::client::Failure;
use crate::client::decisions::{Decisions, DedupCounts, HedgeCounts, ThrottleCounts};
use crate::heap::{IN_FLIGHT, Peaks};
use crate::upstream::network::NetworkCounts;

/// The results of a client: a member of `clients` in the JSON, whose keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// From 0 to 1.
    pub(crate) success_rate: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) p50_all_ms: Option<f64>,
    pub(crate) p95_all_ms: Option<f64>,
    pub(crate) p99_all_ms: Option<f64>,
    pub(crate) longest_ms: Option<f64>,
    /// The deadline of an operation; `null` if the client has none.
    pub(crate) deadline_ms: Option<f64>,
    /// Operations that exceeded the deadline by more than 20 ms.
    pub(crate) over_deadline: usize,
    /// `null`, like the next two, if the machine was too busy to measure the heap.
    pub(crate) peak_heap_bytes: Option<usize>,
    pub(crate) heap_bytes_per_operation: Option<usize>,
    /// The same with the keys of the client's own operations, which may repeat.
    pub(crate) heap_own_keys_bytes_per_operation: Option<usize>,
    pub(crate) upstream_requests_per_operation: f64,
    /// Calls of the client's retry layer; `null` if the client has none.
    pub(crate) calls: Option<u64>,
    pub(crate) retries: u64,
    /// The most retries that the budget allows in a run of this length.
    pub(crate) retries_allowed: Option<u64>,
    pub(crate) retries_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) stops_by_reason: BTreeMap<&'static str, u64>,
    /// Calls that dedup answered; `null` if the client has no dedup.
    pub(crate) dedup: Option<DedupCounts>,
    /// The decisions of the hedge; `null` if the client has none.
    pub(crate) hedge: Option<HedgeCounts>,
    /// The decisions of the concurrency limit; `null` if the client has none.
    pub(crate) throttled: Option<ThrottleCounts>,
    pub(crate) attempt_timeouts: u64,
    /// Failed operations, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) seconds: f64,
    /// The requests that reached the upstream, by treatment.
    #[serde(rename = "weather")]
    pub(crate) network: NetworkCounts,
}

const fn per_operation(bytes: usize) -> usize {
    bytes / IN_FLIGHT as usize
}

/// The measurements of a client's run.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) records: Vec<Record>,
    pub(crate) decisions: Option<Decisions>,
    pub(crate) peaks: Peaks,
    pub(crate) network: NetworkCounts,
}

impl Run {
    pub(crate) fn row(&self) -> Row {
        let succeeded = sorted(self.records.iter().filter(|record| record.outcome.is_ok()));
        let all = sorted(&self.records);
        let decisions = self.decisions.as_ref();
        let deadline = decisions.map(|decisions| decisions.deadline);
        let over = |limit: Duration| all.iter().filter(|took| **took > limit + GRACE).count();
        Row {
            name: self.name,
            success_rate: share(succeeded.len(), all.len()),
            p50_ms: percentile(&succeeded, 50),
            p95_ms: percentile(&succeeded, 95),
            p99_ms: percentile(&succeeded, 99),
            p50_all_ms: percentile(&all, 50),
            p95_all_ms: percentile(&all, 95),
            p99_all_ms: percentile(&all, 99),
            longest_ms: percentile(&all, 100),
            deadline_ms: deadline.map(millis),
            over_deadline: deadline.map_or(0, over),
            peak_heap_bytes: self.peaks.distinct,
            heap_bytes_per_operation: self.peaks.distinct.map(per_operation),
            heap_own_keys_bytes_per_operation: self.peaks.own.map(per_operation),
            upstream_requests_per_operation: share_of(self.network.requests, all.len()),
            calls: decisions.map(|decisions| decisions.calls),
            retries: decisions.map_or(0, |decisions| decisions.retries),
            retries_allowed: decisions.map(|decisions| decisions.allowed(self.took())),
            retries_by_reason: decisions.map(|d| d.retries_by_reason.clone()).unwrap_or_default(),
            stops_by_reason: decisions.map(|d| d.stops.clone()).unwrap_or_default(),
            dedup: decisions.map(|decisions| decisions.dedup),
            hedge: decisions.and_then(|decisions| decisions.hedge),
            throttled: decisions.map(|decisions| decisions.throttled),
            attempt_timeouts: decisions.map_or(0, |decisions| decisions.attempt_timeouts),
            failures: self.failures(),
            seconds: self.took().as_secs_f64(),
            network: self.network,
        }
    }

    /// Returns the time from the start of the run to the end of the last operation.
    pub(crate) fn took(&self) -> Duration {
        self.records.iter().map(|record| record.began + record.took).max().unwrap_or_default()
    }

    fn failures(&self) -> BTreeMap<String, u64> {
        let mut failures = BTreeMap::new();
        for failure in self.records.iter().filter_map(|record| record.outcome.as_ref().err()) {
            *failures.entry(label(failure)).or_default() += 1;
        }
        failures
    }
}

fn label(failure: &Failure) -> String {
    match failure {
        Failure::Status(status) => status.to_string(),
        Failure::Connection => "connection".to_owned(),
        Failure::Rejected(reason) => reason.to_string(),
    }
}

pub(crate) fn sorted<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Duration> {
    let mut took: Vec<_> = records.into_iter().map(|record| record.took).collect();
    took.sort_unstable();
    took
}

/// Returns the percentile by nearest rank in milliseconds, or `None` if there are no values.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map(millis)
}

/// Converts to milliseconds, rounded to the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

pub(crate) fn share(part: usize, whole: usize) -> f64 {
    share_of(u64::try_from(part).unwrap_or(u64::MAX), whole)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn share_of(part: u64, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The timer's resolution of a millisecond, plus the delay of a loaded machine.
const GRACE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let sample: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sample, 50), Some(100.0));
        assert_eq!(percentile(&sample, 95), Some(190.0));
        assert_eq!(percentile(&sample, 100), Some(200.0));
        assert_eq!(percentile(&sample[..1], 99), Some(1.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn row_holds_latencies_of_successes_and_of_all_operations() {
        let record = |millis, outcome| Record {
            began: Duration::ZERO,
            took: Duration::from_millis(millis),
            outcome,
        };
        let run = Run {
            name: "test",
            records: vec![record(100, Ok(())), record(5_100, Err(Failure::Status(503)))],
            decisions: Some(Decisions::none(Duration::from_secs(5))),
            peaks: Peaks { distinct: Some(1_000), own: Some(500) },
            network: NetworkCounts { requests: 5, ..NetworkCounts::default() },
        };
        let row = run.row();
        assert_eq!((row.p99_ms, row.p99_all_ms), (Some(100.0), Some(5_100.0)));
        assert_eq!((row.over_deadline, row.heap_bytes_per_operation), (1, Some(10)));
        assert_eq!(row.heap_own_keys_bytes_per_operation, Some(5));
        assert!((row.success_rate - 0.5).abs() < 1e-9);
        assert!((row.upstream_requests_per_operation - 2.5).abs() < 1e-9);
        assert_eq!(row.failures, BTreeMap::from([("503".to_owned(), 1)]));
    }
}

//! The table, the JSON and the plot.

pub(crate) mod plot;
pub(crate) mod row;
mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::row::Row;
use crate::report::table::{Line, dash, table, three, whole};
use crate::scenario::dead_upstream::DeadUpstreamRow;
use crate::scenario::slow_tail::SlowTailRow;

/// The results of a storm. The JSON keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) operations: u32,
    pub(crate) concurrency: u32,
    pub(crate) clients: Vec<Row>,
    pub(crate) dead_upstream: Vec<DeadUpstreamRow>,
    pub(crate) slow_tail: Vec<SlowTailRow>,
}

impl Report {
    /// Returns a table for the storm and one for each scenario.
    pub(crate) fn tables(&self) -> String {
        let mut tables = Vec::new();
        if !self.clients.is_empty() {
            tables.push(table(&self.clients, |row| row.name, LINES));
        }
        if !self.dead_upstream.is_empty() {
            let table = table(&self.dead_upstream, |row| row.name, DEAD_UPSTREAM_LINES);
            tables
                .push(format!("An upstream that is dead for 10 s, at 200 reads a second\n{table}"));
        }
        if !self.slow_tail.is_empty() {
            let table = table(&self.slow_tail, |row| row.name, SLOW_TAIL_LINES);
            tables.push(format!("One response in a hundred at ten times the median\n{table}"));
        }
        tables.join("\n\n")
    }
}

const LINES: &[Line<Row>] = &[
    ("success rate", |row| format!("{:.1} %", row.success_rate * 100.0)),
    ("P50 / P95 / P99 of successes (ms)", |row| three(row.p50_ms, row.p95_ms, row.p99_ms)),
    ("P50 / P95 / P99 of all (ms)", |row| three(row.p50_all_ms, row.p95_all_ms, row.p99_all_ms)),
    ("longest operation (ms)", |row| whole(row.longest_ms)),
    ("  over its deadline", |row| match row.deadline_ms {
        Some(_) => row.over_deadline.to_string(),
        None => dash(),
    }),
    ("peak heap, 100 operations in flight", |row| kib(row.peak_heap_bytes)),
    ("  per operation", |row| kib(row.heap_bytes_per_operation)),
    ("  per operation, keys as in the storm", |row| kib(row.heap_own_keys_bytes_per_operation)),
    ("upstream requests per operation", |row| {
        format!("{:.2}", row.upstream_requests_per_operation)
    }),
    ("reads that joined a flight", |row| {
        row.dedup.map_or_else(dash, |dedup| dedup.followers.to_string())
    }),
    ("reads answered from the cache", |row| {
        row.dedup.map_or_else(dash, |dedup| dedup.cache_hits.to_string())
    }),
    ("retries", |row| row.retries.to_string()),
    ("  by reason", |row| counts(&row.retries_by_reason)),
    ("  allowed by the budget", |row| row.retries_allowed.map_or_else(dash, |n| n.to_string())),
    ("stops by reason", |row| counts(&row.stops_by_reason)),
    ("attempts that timed out", |row| match row.throttled {
        Some(_) => row.attempt_timeouts.to_string(),
        None => dash(),
    }),
    ("hedges", |row| row.hedge.map_or_else(dash, |hedge| hedge.sent.to_string())),
    ("  won / refused by a full limit", |row| {
        row.hedge.map_or_else(dash, |hedge| format!("{} / {}", hedge.won, hedge.refused))
    }),
    ("requests that waited for a permit", |row| {
        row.throttled.map_or_else(dash, |throttled| {
            format!("{} of {}", throttled.queued, throttled.admitted + throttled.rejected)
        })
    }),
    ("  rejected by the limit", |row| {
        row.throttled.map_or_else(dash, |throttled| throttled.rejected.to_string())
    }),
    ("failed operations by cause", |row| counts(&row.failures)),
];

const DEAD_UPSTREAM_LINES: &[Line<DeadUpstreamRow>] = &[
    ("upstream requests while dead", |row| row.upstream_requests_while_dead.to_string()),
    ("  in the whole run", |row| row.upstream_requests.to_string()),
    ("P50 / P99 until a read has failed (ms)", |row| {
        [row.failure_p50_ms, row.failure_p99_ms].map(whole).join(" / ")
    }),
    ("time to full service (ms)", |row| whole(row.full_service_after_ms)),
    ("reads", |row| row.reads.to_string()),
    ("  that failed", |row| row.failed.to_string()),
    ("  that began after the outage and failed", |row| row.failed_after.to_string()),
    ("times the circuit opened", |row| {
        row.breaker.map_or_else(dash, |breaker| breaker.opened.to_string())
    }),
    ("requests rejected by the breaker", |row| {
        row.breaker.map_or_else(dash, |breaker| breaker.rejected.to_string())
    }),
];

const SLOW_TAIL_LINES: &[Line<SlowTailRow>] = &[
    ("P50 / P95 / P99 (ms)", |row| three(row.p50_ms, row.p95_ms, row.p99_ms)),
    ("longest operation (ms)", |row| whole(row.longest_ms)),
    ("upstream requests per operation", |row| {
        format!("{:.3}", row.upstream_requests_per_operation)
    }),
    ("operations", |row| row.operations.to_string()),
    ("  that failed", |row| row.failed.to_string()),
    ("hedges, with the warm-up", |row| row.hedge.map_or_else(dash, |hedge| hedge.sent.to_string())),
    ("  that won", |row| row.hedge.map_or_else(dash, |hedge| hedge.won.to_string())),
    ("delay before a hedge (ms)", |row| whole(row.hedge.and_then(|hedge| hedge.delay_ms))),
];

#[expect(clippy::cast_precision_loss, reason = "a heap far below 2^52 bytes")]
fn kib(bytes: Option<usize>) -> String {
    bytes.map_or_else(dash, |bytes| format!("{:.1} KiB", bytes as f64 / 1024.0))
}

fn counts(counts: &BTreeMap<impl AsRef<str>, u64>) -> String {
    if counts.is_empty() {
        return dash();
    }
    let mut counts: Vec<_> = counts.iter().map(|(name, number)| (number, name.as_ref())).collect();
    counts.sort_unstable_by_key(|(number, name)| (std::cmp::Reverse(*number), *name));
    counts.iter().map(|(number, name)| format!("{number} {name}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Failure;
    use crate::report::row::Run;
    use crate::upstream::network::NetworkCounts;

    fn report() -> Report {
        let run = Run {
            name: "linear",
            records: vec![crate::callers::Record {
                began: std::time::Duration::ZERO,
                took: std::time::Duration::from_millis(120),
                outcome: Err(Failure::Status(502)),
            }],
            decisions: None,
            peaks: crate::heap::Peaks { distinct: Some(204_800), own: Some(102_400) },
            network: NetworkCounts::default(),
        };
        let (dead_upstream, slow_tail) = (Vec::new(), Vec::new());
        let clients = vec![run.row()];
        Report { seed: 1, operations: 1, concurrency: 1, clients, dead_upstream, slow_tail }
    }

    #[test]
    fn json_has_the_stable_keys() {
        let json = serde_json::to_value(report()).unwrap();
        for key in ["seed", "operations", "concurrency", "clients", "dead_upstream", "slow_tail"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        let client = &json["clients"][0];
        for key in [
            "name",
            "success_rate",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "p50_all_ms",
            "p95_all_ms",
            "p99_all_ms",
            "peak_heap_bytes",
            "heap_bytes_per_operation",
            "heap_own_keys_bytes_per_operation",
            "upstream_requests_per_operation",
            "retries",
            "retries_by_reason",
            "stops_by_reason",
        ] {
            assert!(client.get(key).is_some(), "{key}");
        }
        assert!(client["p50_ms"].is_null(), "nothing succeeded");
    }

    #[test]
    fn table_has_a_column_per_client() {
        let table = report().tables();
        assert!(table.contains("linear"));
        assert!(table.contains("200.0 KiB"));
        assert!(table.contains("1 502"));
    }
}

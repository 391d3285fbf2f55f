//! The dead upstream: a retry alone, and a retry above a circuit breaker.
//!
//! All clients run at the same time, each with an upstream of its own. So a busy machine affects all alike.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use buttress::{Backoff, BreakerHandle, BreakerLayer, DeadlineLayer, HttpExt, RetryLayer};
use serde::Serialize;
use tokio::time::{Instant, interval_at};
use tower::ServiceBuilder;

use crate::callers::Record;
use crate::client::{Client, Pages, hyper};
use crate::operations::Operation;
use crate::report::row::{millis, percentile, share, sorted};
use crate::scenario::arrivals;
use crate::upstream::conditions::{Conditions, DEAD_FROM, DEAD_UNTIL};
use crate::upstream::network::NetworkCounts;
use crate::upstream::process::UpstreamProcess;

/// The measurements of a client.
pub(crate) struct DeadUpstreamRun {
    pub(crate) name: &'static str,
    pub(crate) records: Vec<Record>,
    /// The requests that the upstream has seen, at times since the start of the run.
    pub(crate) samples: Vec<(Duration, u64)>,
    network: NetworkCounts,
    breaker: Option<BreakerCounts>,
}

/// The decisions of a circuit breaker.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct BreakerCounts {
    pub(crate) opened: u64,
    /// Requests that the open circuit or the ramp rejected.
    pub(crate) rejected: u64,
}

/// The results of a client: a member of `dead_upstream` in the JSON, whose keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DeadUpstreamRow {
    pub(crate) name: &'static str,
    pub(crate) reads: usize,
    /// All requests that reached the upstream.
    pub(crate) upstream_requests: u64,
    pub(crate) upstream_requests_while_dead: u64,
    /// The time until a read that began while the upstream was dead has failed.
    pub(crate) failure_p50_ms: Option<f64>,
    pub(crate) failure_p99_ms: Option<f64>,
    pub(crate) failed: usize,
    /// Reads that began after the outage and failed.
    pub(crate) failed_after: usize,
    /// The time from the end of the outage to full service; `null` if the run ended before.
    pub(crate) full_service_after_ms: Option<f64>,
    /// `null` if the client has no breaker.
    pub(crate) breaker: Option<BreakerCounts>,
}

/// Runs all clients.
pub(crate) async fn run(seed: u64) -> io::Result<Vec<DeadUpstreamRun>> {
    let breaker = BreakerLayer::new().seed(seed);
    let eager =
        breaker.clone().open_for(Backoff::constant(EAGER_INTERVAL)).ramp(EAGER_INTERVAL, &[]);
    let (alone, above_breaker, above_eager) = tokio::try_join!(
        run_client(RETRY, seed, retry_alone(seed), None),
        run_client(BREAKER, seed, retry_above(&breaker, seed), Some(breaker.handle())),
        run_client(EAGER_BREAKER, seed, retry_above(&eager, seed), Some(eager.handle())),
    )?;
    Ok(vec![alone, above_breaker, above_eager])
}

fn retry_alone(seed: u64) -> impl Client {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(READ_DEADLINE).http())
        .layer(retry(seed).http())
        .layer(DeadlineLayer::new(PER_ATTEMPT).http())
        .service(hyper());
    Pages(service)
}

fn retry_above(breaker: &BreakerLayer, seed: u64) -> impl Client {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(READ_DEADLINE).http())
        .layer(retry(seed).http())
        .layer(breaker.clone().http())
        .layer(DeadlineLayer::new(PER_ATTEMPT).http())
        .service(hyper());
    Pages(service)
}

/// Three attempts and the default budget.
fn retry(seed: u64) -> RetryLayer {
    RetryLayer::new(ATTEMPTS).backoff(Backoff::exponential(BASE, MAX)).seed(seed)
}

async fn run_client(
    name: &'static str,
    seed: u64,
    client: impl Client,
    breaker: Option<BreakerHandle>,
) -> io::Result<DeadUpstreamRun> {
    let mut upstream = UpstreamProcess::start(Conditions::DeadUpstream, seed).await?;
    let origin = upstream.origin().to_owned();
    upstream.begin().await?;
    let reads = (0..READS).map(Operation::single);
    let client = Arc::new(client);
    let (records, samples) =
        tokio::join!(arrivals::run(&client, &origin, reads, INTERVAL), sample(&mut upstream));
    Ok(DeadUpstreamRun {
        name,
        records,
        samples: samples?,
        network: upstream.finish().await?,
        breaker: breaker.map(|breaker| BreakerCounts {
            opened: breaker.opened(),
            rejected: breaker.rejected(),
        }),
    })
}

/// Asks the upstream for its number of requests in each window of the run.
async fn sample(upstream: &mut UpstreamProcess) -> io::Result<Vec<(Duration, u64)>> {
    let start = Instant::now();
    let mut ticks = interval_at(start, WINDOW);
    let mut samples = Vec::new();
    while start.elapsed() < INTERVAL * READS {
        ticks.tick().await;
        let requests = upstream.counts().await?.requests;
        samples.push((start.elapsed(), requests));
    }
    Ok(samples)
}

impl DeadUpstreamRun {
    pub(crate) fn row(&self) -> DeadUpstreamRow {
        let dead = DEAD_FROM..DEAD_UNTIL;
        let failed = || self.records.iter().filter(|record| record.outcome.is_err());
        let failures = sorted(failed().filter(|record| dead.contains(&record.began)));
        let full_service_after = full_service_after(&self.records, DEAD_UNTIL);
        DeadUpstreamRow {
            name: self.name,
            reads: self.records.len(),
            upstream_requests: self.network.requests,
            upstream_requests_while_dead: self.network.outage,
            failure_p50_ms: percentile(&failures, 50),
            failure_p99_ms: percentile(&failures, 99),
            failed: failed().count(),
            failed_after: failed().filter(|record| record.began >= dead.end).count(),
            full_service_after_ms: full_service_after.map(millis),
            breaker: self.breaker,
        }
    }
}

/// Returns the time from `end` to the first window that begins 3 s of full service: at least 95 % of the
/// operations that begin in each window succeed.
fn full_service_after(records: &[Record], end: Duration) -> Option<Duration> {
    let last = records.iter().map(|record| record.began).max()?;
    let is_full = |window: u32| {
        let from = end + WINDOW * window;
        let begun = records.iter().filter(|record| (from..from + WINDOW).contains(&record.began));
        let (all, succeeded) = begun.fold((0, 0), |(all, succeeded), record| {
            (all + 1, succeeded + usize::from(record.outcome.is_ok()))
        });
        all > 0 && share(succeeded, all) >= FULL
    };
    let mut full = 0;
    for window in (0..).take_while(|window| end + WINDOW * *window <= last) {
        full = if is_full(window) { full + 1 } else { 0 };
        if full == LASTING {
            return Some(WINDOW * (window + 1 - LASTING));
        }
    }
    None
}

pub(crate) const RETRY: &str = "retry";
pub(crate) const BREAKER: &str = "retry-breaker";
/// The breaker tries again every second, and admits all calls once the probes have succeeded.
pub(crate) const EAGER_BREAKER: &str = "retry-breaker-1s";

/// 200 reads a second for 29 s. The default breaker needs at most 13 s after the outage: its longest interval and
/// its ramp. Three seconds are left in which full service must last.
pub(crate) const INTERVAL: Duration = Duration::from_millis(5);
const READS: u32 = 5_800;

const READ_DEADLINE: Duration = Duration::from_secs(2);
const PER_ATTEMPT: Duration = Duration::from_millis(400);
const ATTEMPTS: u32 = 3;
const BASE: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_millis(400);
const EAGER_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) const WINDOW: Duration = Duration::from_millis(250);
const LASTING: u32 = 12;
const FULL: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Failure;

    /// A read every 50 ms for 10 s. Those that begin in `failing` fail.
    fn records(failing: std::ops::Range<u64>) -> Vec<Record> {
        (0..10_000)
            .step_by(50)
            .map(|began| Record {
                began: Duration::from_millis(began),
                took: Duration::from_millis(40),
                outcome: if failing.contains(&began) { Err(Failure::Connection) } else { Ok(()) },
            })
            .collect()
    }

    #[test]
    fn full_service_begins_with_the_first_window_of_successes() {
        let after = |failing| full_service_after(&records(failing), Duration::from_secs(2));
        assert_eq!(after(0..2_000), Some(Duration::ZERO));
        assert_eq!(after(0..2_001), Some(Duration::from_millis(250)));
        assert_eq!(after(2_600..3_000), Some(Duration::from_secs(1)));
    }

    #[test]
    fn full_service_must_last_3_s() {
        let after = |failing| full_service_after(&records(failing), Duration::from_secs(2));
        assert_eq!(after(4_900..5_000), Some(Duration::from_secs(3)));
        assert_eq!(after(5_000..5_100), Some(Duration::ZERO));
        assert_eq!(after(0..7_100), None);
    }

    #[test]
    fn row_tells_failures_of_the_outage_from_those_after_it() {
        let record = |began, took, outcome| Record {
            began: Duration::from_secs(began),
            took: Duration::from_millis(took),
            outcome,
        };
        let failed = || Err(Failure::Connection);
        let run = DeadUpstreamRun {
            name: RETRY,
            records: vec![record(1, 40, Ok(())), record(5, 400, failed()), record(14, 7, failed())],
            samples: Vec::new(),
            network: NetworkCounts { requests: 9, outage: 4, ..NetworkCounts::default() },
            breaker: None,
        };
        let row = run.row();
        assert_eq!((row.reads, row.failed, row.failed_after), (3, 2, 1));
        assert_eq!((row.failure_p50_ms, row.failure_p99_ms), (Some(400.0), Some(400.0)));
        assert_eq!((row.upstream_requests, row.upstream_requests_while_dead), (9, 4));
        assert_eq!(row.full_service_after_ms, None);
    }
}

//! The slow tail: the transport alone, and a hedge above it.
//!
//! Both clients run at the same time, each with an upstream of its own. So a busy machine affects both alike.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use buttress::{HedgeHandle, HedgeLayer, HttpExt};
use serde::Serialize;
use tower::ServiceBuilder;

use crate::callers::Record;
use crate::client::decisions::HedgeCounts;
use crate::client::{Client, Pages, hyper};
use crate::operations::Operation;
use crate::report::row::{percentile, share_of, sorted};
use crate::scenario::arrivals;
use crate::upstream::conditions::Conditions;
use crate::upstream::process::UpstreamProcess;

/// The measurements of a client, without its warm-up.
pub(crate) struct SlowTailRun {
    pub(crate) name: &'static str,
    pub(crate) records: Vec<Record>,
    requests: u64,
    /// With the warm-up.
    hedge: Option<HedgeCounts>,
}

/// The results of a client: a member of `slow_tail` in the JSON, whose keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SlowTailRow {
    pub(crate) name: &'static str,
    pub(crate) operations: usize,
    pub(crate) failed: usize,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) longest_ms: Option<f64>,
    pub(crate) upstream_requests: u64,
    pub(crate) upstream_requests_per_operation: f64,
    /// With the warm-up; `null` if the client has no hedge.
    pub(crate) hedge: Option<HedgeCounts>,
}

/// Runs both clients.
pub(crate) async fn run(seed: u64) -> io::Result<Vec<SlowTailRun>> {
    let hedge = HedgeLayer::learned();
    let handle = hedge.handle();
    let hedged = ServiceBuilder::new().layer(hedge.http()).service(hyper());
    let (plain, hedged) = tokio::try_join!(
        run_client(PLAIN, seed, Pages(hyper()), None),
        run_client(HEDGE, seed, Pages(hedged), Some(handle)),
    )?;
    Ok(vec![plain, hedged])
}

async fn run_client(
    name: &'static str,
    seed: u64,
    client: impl Client,
    hedge: Option<HedgeHandle>,
) -> io::Result<SlowTailRun> {
    let mut upstream = UpstreamProcess::start(Conditions::SlowTail, seed).await?;
    let origin = upstream.origin().to_owned();
    upstream.begin().await?;
    let client = Arc::new(client);
    let mut operations = (0..).map(Operation::distinct);
    let warm_up = operations.by_ref().take(WARM_UP);
    arrivals::run(&client, &origin, warm_up, INTERVAL).await;
    let before = upstream.counts().await?.requests;
    let records = arrivals::run(&client, &origin, operations.take(OPERATIONS), INTERVAL).await;
    let after = upstream.finish().await?.requests;
    Ok(SlowTailRun {
        name,
        records,
        requests: after - before,
        hedge: hedge.as_ref().map(HedgeCounts::new),
    })
}

impl SlowTailRun {
    pub(crate) fn row(&self) -> SlowTailRow {
        let all = sorted(&self.records);
        SlowTailRow {
            name: self.name,
            operations: all.len(),
            failed: self.records.iter().filter(|record| record.outcome.is_err()).count(),
            p50_ms: percentile(&all, 50),
            p95_ms: percentile(&all, 95),
            p99_ms: percentile(&all, 99),
            longest_ms: percentile(&all, 100),
            upstream_requests: self.requests,
            upstream_requests_per_operation: share_of(self.requests, all.len()),
            hedge: self.hedge,
        }
    }
}

pub(crate) const PLAIN: &str = "plain";
pub(crate) const HEDGE: &str = "hedge";

/// 100 operations a second, each of three reads: one in 34 meets the tail.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);
const OPERATIONS: usize = 1_000;

/// More than the 3 s after which the hedge knows its first delay. Before that it sends nothing.
const WARM_UP: usize = 400;

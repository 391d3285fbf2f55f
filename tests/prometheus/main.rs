//! A real Prometheus scrapes a service with all layers, and every query of the dashboard returns data.
//!
//! Needs the program `prometheus`, which Debian's package of that name has. Without it, the test says
//! that it left the queries out. With `CI` or `BUTTRESS_REQUIRE_PROMETHEUS` in the environment, it
//! fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what helps a test may panic as the test may"
)]

mod dashboard;
mod fleet;
mod server;
mod service;

use std::{path::Path, time::Duration};

use buttress::{
    Registry,
    observability::{COUNT_BUCKETS, DURATION_BUCKETS, HISTOGRAMS},
};
use fleet::Replica;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use server::Prometheus;
use tokio::time::{Instant, sleep};

fn exporter() -> PrometheusBuilder {
    let builder = PrometheusBuilder::new().with_recommended_naming(true);
    HISTOGRAMS.iter().fold(builder, |builder, metric| {
        let buckets = if metric.unit() == "s" { DURATION_BUCKETS } else { COUNT_BUCKETS };
        builder.set_buckets_for_metric(Matcher::Full(metric.name().to_owned()), buckets).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_the_dashboard_returns_data() {
    if !Prometheus::is_installed() {
        let is_required =
            ["CI", "BUTTRESS_REQUIRE_PROMETHEUS"].map(|name| std::env::var_os(name).is_some());
        assert_eq!(is_required, [false, false], "the program `prometheus` is not installed");
        eprintln!("LEFT OUT: no query was run, because `prometheus` is not installed");
        return;
    }
    let registry = Registry::new();
    let replica = Replica::start(registry.clone());
    let service = service::start(exporter().install_recorder().unwrap(), registry).await;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
    let prometheus = Prometheus::start(service, &folder).await;

    // Some events are rare, so a query has passed once it has shown a value above 0.
    let mut open = dashboard::queries();
    let began = Instant::now();
    for round in 0.. {
        tokio::join!(service::send_round(service, round), replica.send_round(round));
        let mut still_open = Vec::new();
        for query in open {
            let samples = prometheus.query(&query.text).await;
            let has_data = samples.iter().any(|sample| !sample.value.is_nan());
            let needs_event = !WITHOUT_EVENT.iter().any(|name| query.text.contains(name));
            let has_event = samples.iter().any(|sample| sample.value > 0.0);
            if !has_data || (needs_event && !has_event) {
                still_open.push(query);
            }
        }
        if still_open.is_empty() {
            break;
        }
        let texts: Vec<_> = still_open.iter().map(|query| &query.text).collect();
        assert!(began.elapsed() < LONGEST, "without a value above 0: {texts:#?}");
        open = still_open;
        sleep(server::POLL).await;
    }
    println!("all queries returned data after {:?}", began.elapsed());
    let described = prometheus.metadata().await;
    let ours =
        described.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("buttress_"));
    let count = ours.map(|(name, about)| assert!(is_sentence(&about[0]["help"]), "{name}")).count();
    assert!(count > 60, "{count} metrics are described");
}

fn is_sentence(help: &serde_json::Value) -> bool {
    help.as_str().is_some_and(|help| help.ends_with('.'))
}

/// Their queries return data, and the data is 0: nothing of the kind happens here.
const WITHOUT_EVENT: &[&str] = &[
    "buttress_dedup_panics_total",
    // A single process shares the cache.
    "buttress_dedup_store_superseded_total",
    "buttress_dedup_store_waits_total",
    // No server listens.
    "buttress_redis_connected",
    "buttress_redis_connections_total",
    "buttress_redis_open_circuits",
];

const LONGEST: Duration = Duration::from_secs(120);

//! An axum service that calls an upstream: a stack on each side, a config file, and `/metrics`.
//!
//! Starts an upstream that fails one request in ten and hangs in one of a hundred, and the service in
//! front of the upstream. Sends 320 requests, prints what the callers saw and the metrics that tell
//! why, and ends. `cargo run --example service -- --serve` runs until Ctrl-C, on port 3000:
//!
//! ```sh
//! curl http://127.0.0.1:3000/price/7
//! curl http://127.0.0.1:3000/metrics
//! ```
//!
//! The settings are in `service.toml`. `examples/reload.rs` changes them while requests run.

#![expect(clippy::disallowed_methods, reason = "the program is its own upstream and callers")]

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use buttress::{
    BoxError, ClientConfig, HttpExt, MeterLayer, MetricsSink, Registry, ServerConfig,
    observability::{COUNT_BUCKETS, DURATION_BUCKETS, HISTOGRAMS},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinSet};
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

/// The file `service.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    server: ServerConfig,
    upstream: ClientConfig,
}

#[derive(Clone)]
struct App {
    base: String,
    http: reqwest::Client,
    upstream: BoxCloneSyncService<reqwest::Request, reqwest::Response, reqwest::Error>,
}

async fn price(State(app): State<App>, Path(item): Path<u32>) -> Result<String, StatusCode> {
    let request = app.http.get(format!("{}/{item}", app.base)).build();
    let request = request.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let response = app.upstream.oneshot(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    // A rejection of the stack is a response too, such as a 503 of the open circuit.
    if !response.status().is_success() {
        return Err(response.status());
    }
    response.text().await.map_err(|_| StatusCode::BAD_GATEWAY)
}

/// Makes the service: the routes, with a stack around them, and the upstream behind another stack.
fn service(config: &Config, base: String, recorder: PrometheusHandle) -> Result<Router, BoxError> {
    // Callers of this service: a deadline and a limit.
    let server = buttress::server().named("api").configure(&config.server)?.http();
    // Calls of the upstream: a deadline, retries from a budget, a circuit breaker, a limit, and a
    // deadline for each attempt.
    let client = buttress::client().named("prices").configure(&config.upstream)?.http();
    // Durations and verdicts of the calls, to the end of the body.
    let calls = MeterLayer::call(MetricsSink::new()).named("prices").http();
    let registry = Registry::new().add(server.handle()).add(client.handle()).add(calls.handle());

    let http = reqwest::Client::builder()
        .retry(reqwest::retry::never()) // the stack retries
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let upstream = ServiceBuilder::new().layer(calls).layer(client).service(http.clone());
    let app = App { base, http, upstream: BoxCloneSyncService::new(upstream) };
    let metrics = async move || {
        registry.publish();
        recorder.render()
    };
    Ok(Router::new()
        .route("/price/{item}", get(price))
        .layer(server)
        .route("/metrics", get(metrics)) // outside of the limit
        .with_state(app))
}

/// An upstream that fails one request in ten, and does not answer one in a hundred.
fn unreliable_upstream() -> Router {
    let requests = Arc::new(AtomicU32::new(0));
    let answer = async move |Path(item): Path<u32>| match requests.fetch_add(1, Ordering::Relaxed) {
        number if number % 100 == 50 => pending().await,
        number if number % 10 == 5 => Err(StatusCode::SERVICE_UNAVAILABLE),
        _ => Ok(format!("item {item} costs {} cents", item * 25)),
    };
    Router::new().route("/{item}", get(answer))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/service.toml");
    let config: Config = toml::from_str(&std::fs::read_to_string(path)?)?;
    // The names of the dashboard in `examples/dashboard`. Without buckets, the exporter makes summaries.
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for metric in HISTOGRAMS {
        let buckets = if metric.unit() == "s" { DURATION_BUCKETS } else { COUNT_BUCKETS };
        exporter = exporter.set_buckets_for_metric(Matcher::Full(metric.name().into()), buckets)?;
    }
    let recorder = exporter.install_recorder()?;

    let upstream = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base = format!("http://{}", upstream.local_addr()?);
    tokio::spawn(async { axum::serve(upstream, unreliable_upstream()).await });

    let app = service(&config, base, recorder)?;
    if std::env::args().any(|argument| argument == "--serve") {
        let listener = TcpListener::bind(("127.0.0.1", 3000)).await?;
        println!("http://{}/price/7 and /metrics, until Ctrl-C", listener.local_addr()?);
        axum::serve(listener, app).await?;
        return Ok(());
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    show(&format!("http://{address}")).await
}

/// Sends requests from 16 callers, and prints their outcome and the metrics.
async fn show(service: &str) -> Result<(), BoxError> {
    let http = reqwest::Client::new();
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let (http, url) = (http.clone(), format!("{service}/price/{caller}"));
        callers.spawn(async move {
            let mut served = 0;
            for _ in 0..20 {
                served += u32::from(http.get(&url).send().await?.status().is_success());
            }
            Ok::<_, reqwest::Error>(served)
        });
    }
    let served = callers.join_all().await.into_iter().sum::<Result<u32, _>>()?;
    println!("{served} of 320 requests served");

    let metrics = http.get(format!("{service}/metrics")).send().await?.text().await?;
    let shown = ["buttress_call_ended", "buttress_retry_retries", "buttress_breaker_state"];
    for line in metrics.lines().filter(|line| !line.ends_with(" 0")) {
        if shown.iter().any(|name| line.starts_with(name)) {
            println!("{line}");
        }
    }
    assert!(metrics.contains(r#"buttress_call_begun_total{name="prices"} 320"#), "{metrics}");
    Ok(())
}

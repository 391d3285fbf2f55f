//! An axum service with all layers, in front of an upstream with moods.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use buttress::{
    Backoff, BreakerLayer, Cache, Deadline, DeadlineLayer, DedupLayer, FallbackLayer, HedgeLayer,
    HttpExt, MeterLayer, MetricsSink, OrderLayer, Ratio, Registry, RetryLayer, ThrottleLayer,
    Verdict,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use loopback::serve;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

type Outgoing = Request<Full<Bytes>>;
type Payments = BoxCloneSyncService<Outgoing, Response, hyper_util::client::legacy::Error>;

/// The service on a free port, with its numbers at `/metrics`.
pub(crate) async fn start(exporter: PrometheusHandle, registry: Registry) -> SocketAddr {
    let payments = payments(upstream().await, &registry);
    let meter = MeterLayer::call(MetricsSink::new()).named("api");
    let deadline = DeadlineLayer::new(Duration::from_secs(30)).named("api.deadline");
    let throttle = ThrottleLayer::concurrency(500).named("api.throttle");
    let registry = registry.add(meter.handle()).add(deadline.handle()).add(throttle.handle());
    let layers = ServiceBuilder::new().layer(meter.http()).layer(deadline.http());
    let app = Router::new()
        .route("/pay/{mood}/{id}", get(async move |Path((mood, id))| pay(payments, mood, id).await))
        .layer(layers.layer(throttle.http()));
    let metrics = async move || {
        registry.publish();
        exporter.run_upkeep();
        exporter.render()
    };
    serve(app.route("/metrics", get(metrics))).await.unwrap()
}

async fn pay(payments: Payments, mood: String, id: u32) -> Response {
    // Only a GET has a key by which it is shared.
    let method = if mood == "posted" { Method::POST } else { Method::GET };
    let path = format!("/{mood}/{}", if mood == "shared" { id / 2 } else { id });
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Full::default()).unwrap();
    let call = payments.oneshot(request);
    let outcome = match mood.as_str() {
        // A caller without time, callers without patience, and the first of two who leaves early.
        "expired" => Ok(Deadline::after(Duration::ZERO).around(call).await),
        "crowd" => timeout(ms(60), call).await,
        "shared" if id.is_multiple_of(2) => timeout(ms(20), call).await,
        _ => Ok(call.await),
    };
    match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => StatusCode::BAD_GATEWAY.into_response(),
        Err(_) => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

/// A client of the upstream with all layers.
fn payments(upstream: SocketAddr, registry: &Registry) -> Payments {
    let by_mood = |request: &Outgoing| Some(mood_of(request.uri()).to_owned());
    let only = |mood: &'static str| {
        move |request: &Outgoing| (mood_of(request.uri()) == mood).then_some(mood)
    };
    let transport = ServiceBuilder::new()
        .map_request(move |request: Outgoing| to(upstream, request))
        .service(loopback_client());
    let alternative = ServiceBuilder::new()
        .map_request(|mut request: Outgoing| {
            *request.uri_mut() = Uri::from_static("/alternative/0");
            request
        })
        .service(transport.clone());

    let meter = MeterLayer::call(MetricsSink::new()).named("payments");
    let fallback = FallbackLayer::service(alternative).at_most(1).named("payments.fallback");
    let fallback =
        fallback.when(|verdict| !matches!(verdict, Verdict::Success | Verdict::Permanent));
    let deadline = DeadlineLayer::new(ms(250)).named("payments.deadline");
    let deadline = deadline.max_reject_ratio(Ratio::percent(1));
    let cache = Cache::from_headers().stale_while_revalidate(Duration::from_secs(60));
    let dedup = DedupLayer::new().cache(cache).named("payments.dedup");
    let serial = OrderLayer::serial(only("serial")).queue(3).named("payments.serial");
    let latest = OrderLayer::latest(only("latest")).named("payments.latest");
    let retry = RetryLayer::new(3).backoff(Backoff::constant(ms(5))).named("payments.retry");
    let hedge = HedgeLayer::after(ms(15)).named("payments.hedge");
    let breaker = BreakerLayer::new()
        .keyed(by_mood)
        .open_for(Backoff::constant(ms(700)))
        .slow(ms(60), Ratio::percent(100))
        .named("payments.breaker");
    let throttle = ThrottleLayer::concurrency(3).queue(2).keyed(by_mood).named("payments.throttle");
    let attempt = DeadlineLayer::new(ms(120)).named("payments.attempt");
    let attempts = MeterLayer::attempt(MetricsSink::new()).named("payments");
    let registry = registry.clone().add(meter.handle()).add(fallback.handle());
    let registry = registry.add(deadline.handle()).add(dedup.handle()).add(serial.handle());
    let registry = registry.add(latest.handle()).add(retry.handle()).add(hedge.handle());
    let registry = registry.add(breaker.handle()).add(throttle.handle()).add(attempt.handle());
    drop(registry.add(attempts.handle()));

    let inner = ServiceBuilder::new()
        .layer(retry.http())
        .layer(hedge.http())
        // Inside the hedge, which a busy key refuses.
        .layer(serial.http())
        .layer(breaker.http())
        .layer(throttle.http())
        .layer(attempt.http())
        .layer(attempts.http())
        .service(transport);
    let inner = ServiceBuilder::new()
        .layer(deadline.http())
        .layer(dedup.http())
        .layer(latest.http())
        .service(inner);
    let service = ServiceBuilder::new().layer(meter.http()).layer(fallback.http()).service(inner);
    BoxCloneSyncService::new(
        service.map_response(|response: http::Response<_>| response.map(Body::new)),
    )
}

/// The first part of the path.
fn mood_of(uri: &Uri) -> &str {
    uri.path().split('/').nth(1).unwrap_or_default()
}

fn to(upstream: SocketAddr, mut request: Outgoing) -> Outgoing {
    *request.uri_mut() = format!("http://{upstream}{}", request.uri().path()).parse().unwrap();
    request
}

fn loopback_client() -> impl Service<
    Outgoing,
    Response = http::Response<hyper::body::Incoming>,
    Error = hyper_util::client::legacy::Error,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    Client::builder(TokioExecutor::new()).build_http()
}

/// Answers by the mood in the path.
async fn upstream() -> SocketAddr {
    let calls = Arc::new(AtomicU32::new(0));
    let answer = async move |Path((mood, _)): Path<(String, u32)>| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        match mood.as_str() {
            "flaky" if call.is_multiple_of(2) => {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            "alternative" if call.is_multiple_of(2) => {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            "down" => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            "cached" => {
                return ([("cache-control", "max-age=1, stale-while-revalidate=60")], "cached")
                    .into_response();
            }
            "slow" if call.is_multiple_of(2) => sleep(ms(100)).await,
            "alternative" | "shared" | "latest" => sleep(ms(40)).await,
            // The third call of the key in turn ends beyond the deadline of 250 ms.
            "serial" | "crowd" => sleep(ms(100)).await,
            "hanging" => sleep(ms(1000)).await,
            _ => {}
        }
        "an answer".into_response()
    };
    serve(Router::new().route("/{mood}/{id}", any(answer))).await.unwrap()
}

/// Sends a round of requests of all moods to the service, and reads the answers.
pub(crate) async fn send_round(service: SocketAddr, round: u32) {
    let client = loopback_client();
    let mut calls = tokio::task::JoinSet::new();
    for mood in MOODS {
        for call in 0..6 {
            let id = if *mood == "cached" { 0 } else { 6 * round + call };
            let path = format!("http://{service}/pay/{mood}/{id}");
            let call = client.clone().oneshot(Request::get(path).body(Full::default()).unwrap());
            calls.spawn(async move {
                // The body of a superseded call breaks off, and its connection with it.
                if let Ok(response) = call.await {
                    drop(response.into_body().collect().await);
                }
            });
        }
    }
    calls.join_all().await;
}

const MOODS: &[&str] = &[
    "fine", "flaky", "down", "cached", "slow", "hanging", "crowd", "shared", "serial", "latest",
    "expired", "posted",
];

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

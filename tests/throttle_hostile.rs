//! Odd options of a limit and hostile headers: no panic, no wait without an end, no memory without a
//! bound.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, response::Response, routing::any};
use buttress::{
    BoxError, Criticality, HttpExt, Queue, Rate, Reason, Rejection, ThrottleLayer,
    http_grpc::ResponseHead,
};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use loopback::{http1, nothing, serve, streams};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const CRITICALITY: HeaderName = HeaderName::from_static("x-criticality");
const TENANT: HeaderName = HeaderName::from_static("x-tenant");

async fn tell() -> &'static str {
    Criticality::current().as_str()
}

#[tokio::test]
async fn a_hostile_criticality_is_the_lowest_that_it_says_or_none() {
    let layer = ThrottleLayer::concurrency(1).http();
    let app = Router::new().fallback(any(tell)).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let long = [b'x'; 10_000];
    let cases: [(&[&[u8]], &str); 12] = [
        (&[b""], "critical"),
        (&[b"\xff\xfe"], "critical"),
        (&[b"4"], "critical"),
        (&[b"critical_plus"], "critical"),
        (&[b"sheddable, critical-plus"], "critical"),
        (&[b"sheddable;q=1"], "critical"),
        (&[&long], "critical"),
        (&[b"Sheddable-PLUS"], "sheddable-plus"),
        (&[b"  sheddable\t"], "sheddable"),
        (&[b"critical-plus", b"sheddable-plus"], "sheddable-plus"),
        (&[b"critical-plus", b"critical-plus"], "critical-plus"),
        (&[b"nonsense", b"critical-plus"], "critical-plus"),
    ];
    for (values, expected) in cases {
        let mut request = Request::get(format!("http://{address}/")).body(nothing()).unwrap();
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append(CRITICALITY, value);
        }
        let response = http1().request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected, "{:?}", values.concat().escape_ascii().to_string());
    }
    assert_eq!(layer.handle().admitted(), 12);
    assert_eq!(layer.handle().rejected(), 0);
}

/// What `app` answers to a request with this header, without a socket between.
async fn ask(app: &Router, name: HeaderName, value: &str) -> Response {
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert(name, value.parse().unwrap());
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_flood_of_header_words_counts_as_none() {
    let layer = ThrottleLayer::concurrency(1).http();
    let app: Router = Router::new().fallback(any(tell)).layer(layer.clone());
    for number in 0..5000 {
        let response = ask(&app, CRITICALITY, &format!("critical-plus-{number}")).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    let handle = layer.handle();
    let admitted = Criticality::ALL.map(|criticality| handle.admitted_at(criticality));
    assert_eq!(admitted, [0, 0, 5000, 0]);
}

fn tenant(request: &Request) -> Option<HeaderValue> {
    request.headers().get(TENANT).cloned()
}

#[tokio::test]
async fn a_flood_of_tenants_that_leave_is_forgotten() {
    let layer = ThrottleLayer::concurrency(1).keyed(tenant).http();
    let app: Router = Router::new().fallback(any(async || ())).layer(layer.clone());
    for number in 0..5000 {
        let response = ask(&app, TENANT, &format!("tenant-{number}")).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    let handle = layer.handle();
    assert_eq!(handle.keys(), 0);
    assert_eq!(handle.admitted(), 5000);
    assert_eq!(handle.rejected(), 0);
}

#[tokio::test]
async fn a_flood_of_tenants_that_stay_shares_one_limit_over_the_most_keys() {
    for (most, at_most) in [(0, 1), (16, 17)] {
        let (streams, _writers) = streams();
        let layer = ThrottleLayer::concurrency(1).keyed(tenant).max_keys(most).http();
        let handler = any(async move || streams.respond());
        let app: Router = Router::new().fallback(handler).layer(layer.clone());
        let mut open = Vec::new();
        for number in 0..500 {
            let response = ask(&app, TENANT, &format!("tenant-{number}")).await;
            if response.status() == StatusCode::OK {
                open.push(response);
            }
        }
        assert!((1..=at_most).contains(&open.len()), "{}", open.len());
        assert!(layer.handle().keys() <= most, "{} keys", layer.handle().keys());
        drop(open);
        assert_eq!(layer.handle().keys(), 0);
    }
}

/// How many of three calls at once are served, and why the others are not.
async fn served_of_three<L>(layer: L) -> (usize, Option<Reason>)
where
    L: Layer<Echo>,
    L::Service: Service<u32, Response = u32, Error = BoxError> + Clone,
{
    let echo: Echo = service_fn(|x| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(x)
        })
    });
    let service = ServiceBuilder::new().layer(layer).service(echo);
    let call = || service.clone().oneshot(7);
    let outcomes = tokio::join!(call(), call(), call());
    let outcomes = [outcomes.0, outcomes.1, outcomes.2];
    let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let why = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
    (served, why.map(|error| Rejection::find(error).unwrap().reason()))
}

type Echo = tower::util::ServiceFn<fn(u32) -> Answer>;
type Answer = std::pin::Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>;

#[tokio::test(start_paused = true)]
async fn odd_numbers_of_a_limit_are_the_nearest_that_make_sense() {
    let limit = ThrottleLayer::concurrency;
    let overloaded = Some(Reason::Overloaded);
    assert_eq!(served_of_three(limit(0)).await, (0, overloaded));
    assert_eq!(served_of_three(limit(u32::MAX)).await, (3, None));
    assert_eq!(served_of_three(limit(1).queue(0)).await, (1, overloaded));
    assert_eq!(served_of_three(limit(1).queue(usize::MAX)).await, (3, None));
    assert_eq!(
        served_of_three(limit(1).queue(Queue::new(9).max_wait(Duration::ZERO))).await,
        (1, overloaded)
    );
    assert_eq!(
        served_of_three(limit(1).queue(Queue::new(9).max_wait(Duration::MAX))).await,
        (3, None)
    );
    assert_eq!(
        served_of_three(limit(0).queue(Queue::new(9).max_wait(Duration::MAX)).observe()).await,
        (3, None)
    );
    assert_eq!(
        served_of_three(limit(1).queue(Queue::new(usize::MAX).adaptive_lifo())).await,
        (3, None)
    );
}

#[tokio::test(start_paused = true)]
async fn odd_numbers_of_a_rate_are_the_nearest_that_make_sense() {
    let rate = ThrottleLayer::rate;
    let limited = Some(Reason::RateLimited);
    let once = Rate::new(1, Duration::MAX);
    assert_eq!(served_of_three(rate(Rate::new(1, Duration::ZERO))).await, (3, None));
    assert_eq!(served_of_three(rate(Rate::new(u32::MAX, Duration::MAX))).await, (3, None));
    assert_eq!(served_of_three(rate(Rate::per_second(u32::MAX))).await, (3, None));
    assert_eq!(served_of_three(rate(Rate::per_second(9).burst(0))).await, (1, limited));
    assert_eq!(served_of_three(rate(once)).await, (1, limited));
    assert_eq!(served_of_three(rate(once).observe().queue(usize::MAX)).await, (3, None));
    let weighs = |weight| move |_: &u32| weight;
    assert_eq!(served_of_three(rate(once).cost(weighs(0))).await, (3, None));
    let never = Some(Reason::NeverAdmissible);
    assert_eq!(served_of_three(rate(once).cost(weighs(u32::MAX)).queue(9)).await, (0, never));
    // A wait that is known to be too long is not begun.
    let patient = rate(once).queue(Queue::new(9).max_wait(Duration::from_secs(1)));
    assert_eq!(served_of_three(patient).await, (1, limited));
    // A rate of 0 may be raised, so calls wait for as long as they may, as they do for 0 permits.
    let closed = rate(Rate::per_second(0)).queue(Queue::new(9).max_wait(Duration::from_secs(1)));
    assert_eq!(served_of_three(closed).await.0, 0);
}

#[tokio::test]
async fn an_odd_name_and_odd_rates_make_headers_all_the_same() {
    let rates = [
        Rate::per_second(0),
        Rate::per_second(u32::MAX),
        Rate::new(1, Duration::ZERO),
        Rate::new(1, Duration::MAX),
        Rate::new(u32::MAX, Duration::MAX).burst(u32::MAX),
        Rate::new(1, Duration::from_nanos(1)),
    ];
    for rate in rates {
        let layer =
            ThrottleLayer::rate(rate).named("a \"name\"\n\\ \u{e9}\0").advertise_quota().http();
        let app: Router = Router::new().fallback(any(async || ())).layer(layer);
        for _ in 0..2 {
            let response = ask(&app, http::header::CONTENT_TYPE, "application/grpc").await;
            let policy = response.headers()["ratelimit-policy"].to_str().unwrap();
            assert!(policy.starts_with(r#""a \"name\"%0A\\ %C3%A9%00";q="#), "{policy}");
            assert!(response.headers().contains_key("ratelimit"), "{rate:?}");
            if response.rejection().is_some() {
                let message = response.headers()["grpc-message"].to_str().unwrap();
                assert!(message.starts_with("throttle `a \"name\"%0A\\ %C3%A9%00`: "), "{message}");
            }
        }
    }
}

use buttress::{
    deadline::DeadlineLayer, http_grpc::HttpExt, retry::RetryLayer, throttle::ThrottleLayer,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{BoxError, Layer, Service, limit::ConcurrencyLimitLayer, retry, timeout::TimeoutLayer};

use crate::{
    cases::settings::{
        ATTEMPT, ATTEMPTS, BUTTRESS, BudgetPolicy, IN_FLIGHT, PERMITS, TIMEOUT, TOWER, rate,
    },
    http1::{
        Http1Case, Side,
        client::HttpClient,
        exchange::{Page, send, serve},
    },
};

/// No layer, and the layers of buttress and tower on the client and on the server.
pub fn http1_cases() -> Vec<Http1Case> {
    let mut cases = vec![on_client("none", "–", |client| client)];
    if let Some(bare) = cases.first_mut() {
        bare.side = Side::Neither;
    }
    cases.extend(clients());
    cases.extend(tower_clients());
    cases.extend(servers());
    cases
}

fn clients() -> [Http1Case; 5] {
    [
        on_client("deadline", BUTTRESS, |client| DeadlineLayer::new(TIMEOUT).http().layer(client)),
        on_client("retry + budget", BUTTRESS, |client| {
            RetryLayer::new(ATTEMPTS).http().layer(client)
        }),
        on_client("concurrency", BUTTRESS, |client| {
            ThrottleLayer::concurrency(IN_FLIGHT).http().layer(client)
        }),
        on_client(FOUR, BUTTRESS, four),
        on_client("rate in front of the four", BUTTRESS, |client| {
            ThrottleLayer::rate(rate()).http().layer(four(client))
        }),
    ]
}

/// tower's retry clones the body of a request. Its other layers look at the head only.
fn tower_clients() -> [Http1Case; 4] {
    [
        on_client("deadline", TOWER, |client| TimeoutLayer::new(TIMEOUT).layer(client)),
        on_client("retry + budget", TOWER, |client| {
            retry::RetryLayer::new(BudgetPolicy::new()).layer(client)
        }),
        on_client("concurrency", TOWER, |client| ConcurrencyLimitLayer::new(PERMITS).layer(client)),
        on_client(FOUR, TOWER, |client| {
            let attempt = TimeoutLayer::new(ATTEMPT).layer(client);
            let limit = ConcurrencyLimitLayer::new(PERMITS).layer(attempt);
            let retry = retry::RetryLayer::new(BudgetPolicy::new()).layer(limit);
            TimeoutLayer::new(TIMEOUT).layer(retry)
        }),
    ]
}

fn servers() -> [Http1Case; 3] {
    [
        on_server("deadline → concurrency", BUTTRESS, |page| {
            let limit = ThrottleLayer::concurrency(IN_FLIGHT).http().layer(page);
            DeadlineLayer::new(TIMEOUT).http().layer(limit)
        }),
        on_server("rate → deadline → concurrency", BUTTRESS, |page| {
            let limit = ThrottleLayer::concurrency(IN_FLIGHT).http().layer(page);
            let deadline = DeadlineLayer::new(TIMEOUT).http().layer(limit);
            ThrottleLayer::rate(rate()).http().layer(deadline)
        }),
        on_server("deadline → concurrency", TOWER, |page| {
            TimeoutLayer::new(TIMEOUT).layer(ConcurrencyLimitLayer::new(PERMITS).layer(page))
        }),
    ]
}

/// Deadline over retry over a limit over deadline.
fn four(
    client: HttpClient,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<impl Body<Data = Bytes, Error = BoxError>>,
    Error = hyper::Error,
    Future: Send,
> + Clone {
    let attempt = DeadlineLayer::new(ATTEMPT).http().layer(client);
    let limit = ThrottleLayer::concurrency(IN_FLIGHT).queue(64).http().layer(attempt);
    let retry = RetryLayer::new(ATTEMPTS).http().layer(limit);
    DeadlineLayer::new(TIMEOUT).http().layer(retry)
}

fn on_client<S, B>(
    layers: &'static str,
    provider: &'static str,
    layer: impl Fn(HttpClient) -> S + 'static,
) -> Http1Case
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>> + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    Http1Case {
        side: Side::Client,
        layers,
        provider,
        open: Box::new(move |runtime| {
            let address = serve(runtime, Page);
            let mut service = layer(HttpClient::connect(runtime, address));
            Box::new(move |runtime, requests| {
                runtime.block_on(send(&mut service, requests));
            })
        }),
    }
}

fn on_server<S, B>(
    layers: &'static str,
    provider: &'static str,
    layer: impl Fn(Page) -> S + 'static,
) -> Http1Case
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    Http1Case {
        side: Side::Server,
        layers,
        provider,
        open: Box::new(move |runtime| {
            let address = serve(runtime, layer(Page));
            let mut service = HttpClient::connect(runtime, address);
            Box::new(move |runtime, requests| {
                runtime.block_on(send(&mut service, requests));
            })
        }),
    }
}

const FOUR: &str = "deadline → retry → concurrency → deadline";

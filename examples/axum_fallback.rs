//! `FallbackLayer` on an axum server: a page in place of a failure, and a replica in place of an upstream.
//!
//! The server shows prices of a shop. The prices come from an upstream over HTTP, and from its replica if the
//! upstream fails. If both fail, or take too long, the client gets a page with the last known price and the header
//! `x-served-by: fallback`. Prints and checks each answer.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use buttress::{BoxError, DeadlineLayer, FallbackLayer, Http, HttpExt, Verdict};
use http::{HeaderName, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};

const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// The page in place of a failure. The verdict says what went wrong, for the status.
fn last_known_price(verdict: Verdict) -> Response {
    let status = match verdict {
        Verdict::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Html("<p>Yesterday the lamp was 20.</p>")).into_response()
}

/// An upstream that fails while `is_down`, and answers `price` otherwise.
fn prices(is_down: &Arc<AtomicBool>, price: &'static str) -> Router {
    let is_down = Arc::clone(is_down);
    let lamp = async move || {
        let is_up = !is_down.load(Ordering::Relaxed);
        is_up.then_some(price).ok_or(StatusCode::SERVICE_UNAVAILABLE)
    };
    Router::new().route("/lamp", get(lamp)).route("/sofa", get(pending::<StatusCode>))
}

type Upstream = Client<HttpConnector, Body>;

/// The shop: its handler asks the upstream at `first`, then the replica at `second`.
fn shop(first: SocketAddr, second: SocketAddr) -> Router {
    let client: Upstream = Client::builder(TokioExecutor::new()).build_http();
    // The request for the upstream goes to the replica instead.
    let replica = ServiceBuilder::new()
        .map_request(move |mut request: Request<Body>| {
            let path = request.uri().path().to_owned();
            *request.uri_mut() = Uri::builder()
                .scheme("http")
                .authority(second.to_string())
                .path_and_query(path)
                .build()
                .unwrap_or_default();
            request
        })
        .service(client.clone());
    let upstream = ServiceBuilder::new()
        .layer(FallbackLayer::service(replica).at_most(20).named("replica").http())
        .service(client);
    let price = async move |uri: Uri| -> Result<Response, StatusCode> {
        let request = Request::get(format!("http://{first}{}", uri.path()));
        let request = request.body(Body::empty()).map_err(|_| StatusCode::BAD_REQUEST)?;
        let answer = upstream.clone().oneshot(request).await;
        answer.map(IntoResponse::into_response).map_err(|_| StatusCode::BAD_GATEWAY)
    };
    // The fallback is outside the deadline. Otherwise no time would be left to answer.
    let page = FallbackLayer::answer(|verdict, _| last_known_price(verdict)).named("page");
    Router::new().route("/{item}", get(price)).layer(
        ServiceBuilder::new()
            .layer(page.http_with(Http::new().fallback_header(SERVED_BY)))
            .layer(DeadlineLayer::new(Duration::from_millis(200)).http()),
    )
}

async fn listen() -> Result<(SocketAddr, TcpListener), BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    Ok((listener.local_addr()?, listener))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let down = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let ((first, primary), (second, replica), (address, listener)) =
        (listen().await?, listen().await?, listen().await?);
    let requests = async {
        let client: Upstream = Client::builder(TokioExecutor::new()).build_http();
        let ask = async |item: &str| {
            let request = Request::get(format!("http://{address}/{item}")).body(Body::empty())?;
            let answer = client.request(request).await?;
            let served_by = answer.headers().get(SERVED_BY).map_or("service", |_| "fallback");
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            let text = String::from_utf8_lossy(&text).into_owned();
            println!("{item}: {} from the {served_by}: {text}", status.as_u16());
            Ok::<_, BoxError>((status.as_u16(), served_by, text))
        };
        let [primary_is_down, replica_is_down] = &down;
        let expect = |price: &str| (200, "service", price.to_owned());
        let page = "<p>Yesterday the lamp was 20.</p>";

        assert_eq!(ask("lamp").await?, expect("19"));
        // A failure of the service itself is an answer, and passes.
        assert_eq!(ask("unknown").await?.0, 404);
        primary_is_down.store(true, Ordering::Relaxed);
        assert_eq!(ask("lamp").await?, expect("19, says the replica"));
        replica_is_down.store(true, Ordering::Relaxed);
        assert_eq!(ask("lamp").await?, (503, "fallback", page.to_owned()));
        // The upstream never answers this one, and the deadline ends the call.
        assert_eq!(ask("sofa").await?, (504, "fallback", page.to_owned()));
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = axum::serve(primary, prices(&down[0], "19")) => served?,
        served = axum::serve(replica, prices(&down[1], "19, says the replica")) => served?,
        served = axum::serve(listener, shop(first, second)) => served?,
        done = requests => done?,
    }
    Ok(())
}

//! A client that makes one request of many, and keeps the answer for as long as the server says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::header::CACHE_CONTROL, response::IntoResponse, routing::get};
use buttress::{
    BoxError, Cache, DeadlineLayer, DedupHandle, DedupLayer, HttpExt, RetryLayer, ThrottleLayer,
    http_grpc::FromCache,
};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, time::sleep};
use tower::{ServiceBuilder, ServiceExt};

/// Takes its time, and says for how long its answer is good.
async fn quote() -> impl IntoResponse {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    sleep(Duration::from_millis(50)).await;
    ([(CACHE_CONTROL, "max-age=1, stale-while-revalidate=60")], format!("quote {call}"))
}

fn show(what: &str, handle: &DedupHandle) {
    let (led, joined, hits) = (handle.leaders(), handle.followers(), handle.cache_hits());
    println!("{what}: {led} requests, {joined} joined one, {hits} were answered with what is kept");
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let uri = format!("http://{}/quote", listener.local_addr()?);
    let app = Router::new().route("/quote", get(quote).put(async || "changed"));

    let dedup = DedupLayer::new().cache(Cache::from_headers()).share_errors().http();
    let handle = dedup.handle();
    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(5)).http())
        .layer(dedup)
        // hyper's errors cannot be cloned, and what cannot be is for one caller alone.
        .map_err(Arc::new)
        .layer(RetryLayer::new(3).http())
        .layer(ThrottleLayer::concurrency(32).queue(200).http())
        .layer(DeadlineLayer::new(Duration::from_secs(1)).named("attempt").http())
        .service(Client::builder(TokioExecutor::new()).build_http());

    let call = async |method: Method| {
        let request = Request::builder().method(method).uri(&uri).body(Empty::<Bytes>::new())?;
        let response = client.clone().oneshot(request).await?;
        let kept = response.extensions().get::<FromCache>().copied();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>((String::from_utf8_lossy(&body).into_owned(), kept))
    };
    let visit = async {
        tokio::try_join!(call(Method::GET), call(Method::GET), call(Method::GET))?;
        show("three at once", &handle);
        assert_eq!((handle.leaders(), handle.followers()), (1, 2));

        let (body, kept) = call(Method::GET).await?;
        show("a fourth", &handle);
        assert!(body == "quote 1" && kept.is_some_and(|kept| !kept.stale));

        call(Method::PUT).await?;
        let (body, kept) = call(Method::GET).await?;
        show("after a change", &handle);
        assert!(body == "quote 2" && kept.is_none());

        sleep(Duration::from_millis(1100)).await;
        let (body, kept) = call(Method::GET).await?;
        show("after its time", &handle);
        assert!(body == "quote 2" && kept.is_some_and(|kept| kept.stale));

        while handle.in_flight() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        let (body, _) = call(Method::GET).await?;
        show("after a refresh", &handle);
        assert!(body == "quote 3" && handle.refreshes() == 1);
        println!("{} answer is kept", handle.cache_entries());
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        visited = visit => visited?,
    }
    Ok(())
}

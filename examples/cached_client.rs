//! `DedupLayer` around a hyper client: concurrent requests share one upstream request, and responses are cached
//! as long as `Cache-Control` allows.
//!
//! The other layers are the usual ones: a deadline, retries, a concurrency limit and a deadline per attempt.
//! Prints the leaders, followers and cache hits after each step.

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

/// Responds after 50 ms. The response is fresh for 1 s, and may be served stale for 60 s while it is refreshed.
async fn quote() -> impl IntoResponse {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    sleep(Duration::from_millis(50)).await;
    ([(CACHE_CONTROL, "max-age=1, stale-while-revalidate=60")], format!("quote {call}"))
}

fn print_counts(step: &str, handle: &DedupHandle) {
    let (leaders, followers) = (handle.leaders(), handle.followers());
    let cached = handle.cache_hits();
    println!("{step}: leaders {leaders}, followers {followers}, cache hits {cached}");
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let uri = format!("http://{}/quote", listener.local_addr()?);
    let app = Router::new().route("/quote", get(quote).put(async || "changed"));

    let dedup = DedupLayer::new().cache(Cache::from_headers()).share_errors().http();
    let handle = dedup.handle();
    let client = ServiceBuilder::new()
        // The time of the whole call: all attempts, the backoff between them and the body.
        .layer(DeadlineLayer::new(Duration::from_secs(5)).http())
        // Outside of the retries, so that followers share the final response and not one attempt.
        .layer(dedup)
        // `share_errors` needs errors that are `Clone`. hyper's error is not, so an `Arc` wraps it.
        .map_err(Arc::new)
        // At most three attempts, within the default retry budget.
        .layer(RetryLayer::new(3).http())
        // At most 32 requests in flight. A retry waits for a permit again.
        .layer(ThrottleLayer::concurrency(32).queue(200).http())
        // The time of an attempt, without the time in the queue.
        .layer(DeadlineLayer::new(Duration::from_secs(1)).named("attempt").http())
        .service(Client::builder(TokioExecutor::new()).build_http());

    let call = async |method: Method| {
        let request = Request::builder().method(method).uri(&uri).body(Empty::<Bytes>::new())?;
        let response = client.clone().oneshot(request).await?;
        let from_cache = response.extensions().get::<FromCache>().copied();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>((String::from_utf8_lossy(&body).into_owned(), from_cache))
    };
    let requests = async {
        tokio::try_join!(call(Method::GET), call(Method::GET), call(Method::GET))?;
        print_counts("three concurrent requests", &handle);
        assert_eq!((handle.leaders(), handle.followers()), (1, 2));

        let (body, from_cache) = call(Method::GET).await?;
        print_counts("a fourth request", &handle);
        assert!(body == "quote 1" && from_cache.is_some_and(|from_cache| !from_cache.stale));

        // A successful unsafe request invalidates the cached responses of its URI (RFC 9111, section 4.4).
        call(Method::PUT).await?;
        let (body, from_cache) = call(Method::GET).await?;
        print_counts("after a PUT", &handle);
        assert!(body == "quote 2" && from_cache.is_none());

        sleep(Duration::from_millis(1100)).await;
        let (body, from_cache) = call(Method::GET).await?;
        print_counts("after 1.1 s, stale", &handle);
        assert!(body == "quote 2" && from_cache.is_some_and(|from_cache| from_cache.stale));

        // The stale response has started a refresh in the background.
        while handle.in_flight() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        let (body, _) = call(Method::GET).await?;
        print_counts("after the refresh", &handle);
        assert!(body == "quote 3" && handle.refreshes() == 1);
        println!("{} response is cached", handle.cache_entries());
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        done = requests => done?,
    }
    Ok(())
}

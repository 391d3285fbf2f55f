//! What is kept of a target is outdated by a call that changes it.

use std::time::Duration;

use axum::{
    Router,
    routing::{MethodRouter, get, post},
};
use buttress::{Cache, DedupLayer, Http, HttpExt, layer_api::ByMode};
use http::{Method, Request, StatusCode, header::HOST};
use loopback::{
    Cached, Headers, Origin, Work, answer, ask, ask_for, get_of, http1, nothing, read, serve,
    three, until,
};
use tokio::task::JoinSet;
use tower::{ServiceBuilder, ServiceExt};

fn keep() -> DedupLayer<Http, ByMode, Cache> {
    DedupLayer::new().cache(Cache::new(Duration::from_secs(600))).http()
}

/// A shop whose answers are the number of the call, and which refuses to sell `/none`.
fn shop() -> (Cached, Origin) {
    let origin = Origin::new(|request, call| {
        let is_refused = request.uri().path() == "/none" && request.method() == Method::POST;
        let status = if is_refused { StatusCode::CONFLICT } else { StatusCode::OK };
        Ok(answer(status, &[], call.to_string()))
    });
    (ServiceBuilder::new().layer(keep()).service(origin.clone()), origin)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_changes_a_target_outdates_what_is_kept_of_it_and_of_nothing_else() {
    const HOST_SAYS: Headers = &[("host", "shop")];
    let (stack, origin) = shop();
    let other = || ask_for("http://shop/other");
    assert_eq!(three(&stack, &origin, other).await, 1);
    let kept = [
        || ask_for("http://shop/x"),
        || ask(Method::HEAD, "http://shop/x", &[]),
        || ask(Method::GET, "http://shop/x", &[("accept", "text/html"), ("cookie", "alice")]),
        || ask(Method::GET, "/x", HOST_SAYS),
        || ask_for("http://SHOP:80/x"),
    ];
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let changes = [
            ask(Method::try_from(method).unwrap(), "http://shop/x", &[]),
            ask(Method::try_from(method).unwrap(), "/x", HOST_SAYS),
            ask(Method::try_from(method).unwrap(), "http://user@Shop:80/x", &[]),
        ];
        for change in changes {
            for request in kept {
                assert_eq!(three(&stack, &origin, request).await, 1, "{method}");
            }
            for request in kept {
                assert_eq!(three(&stack, &origin, request).await, 0, "{method}");
            }
            read(stack.clone().oneshot(change).await.unwrap()).await;
        }
    }
    assert_eq!(three(&stack, &origin, other).await, 0);
}

/// RFC 9110, section 4.2.3: they are the same resource.
#[tokio::test(start_paused = true)]
async fn a_target_is_changed_however_its_letters_are_written() {
    let (stack, origin) = shop();
    let spellings = ["/caf%C3%A9?a=~b", "/%63af%c3%a9?a=%7Eb", "/caf%C3%a9?%61=~b"];
    for change in spellings {
        for kept in spellings {
            assert_eq!(three(&stack, &origin, || ask_for(kept)).await, 1, "{kept}");
        }
        read(stack.clone().oneshot(ask(Method::PUT, change, &[])).await.unwrap()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_or_changes_nothing_outdates_nothing() {
    let (stack, origin) = shop();
    let kept = || ask_for("/none");
    assert_eq!(three(&stack, &origin, kept).await, 1);
    for method in [Method::POST, Method::OPTIONS, Method::TRACE, Method::HEAD] {
        read(stack.clone().oneshot(ask(method, "/none", &[])).await.unwrap()).await;
        assert_eq!(three(&stack, &origin, kept).await, 0);
    }
}

#[tokio::test]
async fn an_answer_that_was_on_its_way_when_its_target_changed_is_not_kept() {
    let work = Work::default();
    let page: MethodRouter = {
        let work = work.clone();
        let handler = async move || work.call().await.to_string();
        get(handler).merge(post(async || "changed"))
    };
    let layer = keep();
    let app = Router::new().route("/", page).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let change = || {
        let request = Request::post(format!("http://{address}/")).header(HOST, address.to_string());
        http1().request(request.body(nothing()).unwrap())
    };
    let mut load = JoinSet::new();
    load.spawn(http1().request(get_of(address, "")));
    until(|| work.running() == 1).await;
    assert_eq!(read(change().await.unwrap()).await, "changed");
    work.allow(1);
    assert_eq!(read(load.join_next().await.unwrap().unwrap().unwrap()).await, "1");
    work.allow(1);
    for _ in 0..3 {
        let fresh = http1().request(get_of(address, "")).await.unwrap();
        assert_eq!(read(fresh).await, "2");
        until(|| layer.handle().in_flight() == 0).await;
    }
    assert_eq!((work.calls(), layer.handle().cache_hits()), (2, 2));
}

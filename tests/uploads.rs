use axum::{Router, body::Bytes, routing::post};
use buttress::core::{Classify, Verdict};
use buttress::{BoxError, Http};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, channel::Channel};
use loopback::*;
use std::{convert::Infallible, time::Duration};

fn verdict<E: 'static>(error: &E) -> (Verdict, bool) {
    let request = Request::new(());
    let seed = Classify::<_, http::Response<()>, E>::seed(&Http::new(), &request);
    (
        Classify::<Request<()>, http::Response<()>, _>::classify(&Http::new(), &seed, Err(error)),
        false,
    )
}
async fn app() -> std::net::SocketAddr {
    serve(
        Router::new()
            .route("/", post(async |b: Bytes| b.len().to_string()))
            .route("/a/b", post(async |b: Bytes| b.len().to_string())),
    )
    .await
    .unwrap()
}
fn broken() -> AnyBody {
    let frames = tokio_stream::iter(vec![
        Ok(Frame::data(Bytes::from_static(b"abc"))),
        Err(BoxError::from("broke")),
    ]);
    StreamBody::new(frames).boxed_unsync()
}
fn late_broken() -> AnyBody {
    let (mut tx, body) = Channel::<Bytes, BoxError>::new(4);
    background(async move {
        tx.send_data(Bytes::from_static(b"abc")).await.ok();
        tokio::time::sleep(Duration::from_millis(50)).await;
        tx.abort("late".into());
    });
    body.boxed_unsync()
}
fn dropped() -> AnyBody {
    let (mut tx, body) = Channel::<Bytes, Infallible>::new(4);
    background(async move {
        tx.send_data(Bytes::from_static(b"abc")).await.ok();
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(tx);
    });
    body.map_err(|n| match n {}).boxed_unsync()
}
#[tokio::test]
async fn probe() {
    let a = app().await;
    for (bn, f, len) in [
        ("broken", broken as fn() -> AnyBody, None),
        ("late", late_broken, None),
        ("late+len", late_broken, Some(10)),
        ("dropped", dropped, None),
        ("dropped+len", dropped, Some(10)),
    ] {
        for (n, c) in [("h1", http1()), ("h2", http2())] {
            let mut r = Request::post(format!("http://{a}/"));
            if let Some(l) = len {
                r = r.header("content-length", l);
            }
            let out = c.request(r.body(f()).unwrap()).await;
            match out {
                Ok(r) => println!("{bn} {n}: {} {:?}", r.status(), r.headers()),
                Err(e) => println!("{bn} {n}: {:?} {e:?}", verdict(&e)),
            }
        }
        for (n, c) in [(
            "rq1",
            reqwest::Client::builder().no_proxy().retry(reqwest::retry::never()).build().unwrap(),
        )] {
            let mut r = c
                .post(format!("http://{a}/"))
                .body(reqwest::Body::wrap_stream(f().into_data_stream()));
            if let Some(l) = len {
                r = r.header("content-length", l);
            }
            match r.send().await {
                Ok(r) => println!("{bn} {n}: {} {:?}", r.status(), r.headers()),
                Err(e) => println!("{bn} {n}: {:?} {e:?}", verdict(&e)),
            }
        }
        let mut ch = channel(a).unwrap();
        tower::ServiceExt::<http::Request<tonic::body::Body>>::ready(&mut ch).await.unwrap();
        let mut r =
            Request::post(format!("http://{a}/a/b")).header("content-type", "application/grpc");
        if let Some(l) = len {
            r = r.header("content-length", l);
        }
        match tower::Service::call(&mut ch, r.body(tonic::body::Body::new(f())).unwrap()).await {
            Ok(r) => println!("{bn} tonic: {} {:?}", r.status(), r.headers()),
            Err(e) => {
                println!("{bn} tonic: {:?} {e:?}", verdict(&e));
                let s = tonic::Status::from_error(Box::new(e));
                println!("    status {:?} {s:?}", verdict(&s));
            }
        }
    }
}

//! A response in place of the service's, joined with the service's own response.

#![expect(clippy::unwrap_used, reason = "a helper of a test panics as the test would")]

use buttress_core::{Blend, Degraded, Origin, Source, Verdict};
use buttress_http::Http;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full, Limited};

fn degraded() -> Degraded {
    Degraded::new(Origin::new("fallback"), Source::Value, Verdict::Transient)
}

/// The bodies of the service and of the response in its place differ in type.
fn page(text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    response.extensions_mut().insert("kept");
    response
}

async fn text<B: Body<Data = Bytes>>(response: Response<B>) -> Vec<u8> {
    response.into_body().collect().await.ok().unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn own_response_is_passed_on_without_a_mark() {
    let own = Blend::<_, Response<Empty<Bytes>>>::own(&Http::new(), page("own"));
    assert_eq!(own.extensions().get::<Degraded>(), None);
    assert_eq!(own.extensions().get(), Some(&"kept"));
    assert_eq!(own.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(text(own).await, b"own");
}

#[tokio::test]
async fn response_in_place_of_the_services_is_marked_and_keeps_its_head_and_body() {
    let other = Blend::<Response<Empty<Bytes>>, _>::other(&Http::new(), page("sorry"), degraded());
    assert_eq!(other.extensions().get(), Some(&degraded()));
    assert_eq!(other.extensions().get(), Some(&"kept"));
    assert_eq!(other.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!((other.body().size_hint().exact(), other.body().is_end_stream()), (Some(5), false));
    assert_eq!(text(other).await, b"sorry");
}

#[tokio::test]
async fn joined_response_fails_with_the_error_of_its_body() {
    let failing = Limited::new(Full::from("longer"), 1);
    let own = Blend::<_, Response<Empty<Bytes>>>::own(&Http::new(), Response::new(failing));
    assert!(own.into_body().collect().await.is_err());
}

#[tokio::test]
async fn fallback_header_marks_only_a_response_in_place_of_the_services() {
    let name = HeaderName::from_static("x-served-by");
    let http = Http::new().fallback_header(name.clone());
    let mut upstream = page("own");
    upstream.headers_mut().insert(name.clone(), HeaderValue::from_static("upstream"));
    let own = Blend::<_, Response<Empty<Bytes>>>::own(&http, upstream);
    assert_eq!(own.headers()[&name], "upstream");
    let mut sorry = page("sorry");
    sorry.headers_mut().append(name.clone(), HeaderValue::from_static("page"));
    sorry.headers_mut().append(name.clone(), HeaderValue::from_static("other"));
    let other = Blend::<Response<Empty<Bytes>>, _>::other(&http, sorry, degraded());
    assert_eq!(other.headers().get_all(&name).iter().collect::<Vec<_>>(), ["fallback"]);
    let other = Blend::<Response<Empty<Bytes>>, _>::other(&Http::new(), page("sorry"), degraded());
    assert!(other.headers().is_empty());
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use reqwest::ResponseBuilderExt;

    use super::*;

    fn own() -> reqwest::Response {
        page("own").map(reqwest::Body::wrap).into()
    }

    #[tokio::test]
    async fn http_response_stands_in_for_a_response_of_reqwest() {
        let http = Http::new();
        let passed = Blend::<reqwest::Response, Response<&'static str>>::own(&http, own());
        assert_eq!(passed.extensions().get::<Degraded>(), None);
        assert_eq!(passed.text().await.unwrap(), "own");

        let url = reqwest::Url::parse("http://example.test/sorry").unwrap();
        let sorry = Response::builder().status(418).url(url.clone()).body("sorry").unwrap();
        let other = Blend::<reqwest::Response, _>::other(&http, sorry, degraded());
        assert_eq!(other.extensions().get(), Some(&degraded()));
        assert_eq!((other.status(), other.url()), (StatusCode::IM_A_TEAPOT, &url));
        assert_eq!(other.text().await.unwrap(), "sorry");
    }

    #[tokio::test]
    async fn response_of_reqwest_stands_in_for_another() {
        let http = Http::new();
        let passed = Blend::<reqwest::Response, reqwest::Response>::own(&http, own());
        assert_eq!(passed.extensions().get::<Degraded>(), None);
        let other = Blend::<reqwest::Response, _>::other(&http, own(), degraded());
        assert!(other.headers().is_empty());
        let http = Http::new().fallback_header(HeaderName::from_static("x-served-by"));
        let other = Blend::<reqwest::Response, _>::other(&http, own(), degraded());
        assert_eq!(other.headers()["x-served-by"], "fallback");
        assert_eq!(other.extensions().get(), Some(&degraded()));
        assert_eq!(other.text().await.unwrap(), "own");
    }
}

//! Requests of reqwest.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use buttress_core::{Attempt, Replay};
use buttress_http::Http;
use http::{HeaderValue, Method};

use crate::stream::{Stream, read_all, text};

#[test]
fn a_buffered_body_stays_buffered() {
    let mut request = post();
    *request.body_mut() = Some("buffered".into());
    let saved = Http::new().save(&mut request);
    assert_eq!(bytes(&request), Some(&b"buffered"[..]));
    let again = again(&saved.unwrap()).unwrap();
    assert_eq!(bytes(&again), Some(&b"buffered"[..]));
    assert_eq!(again.url(), request.url());
    assert_eq!(again.headers(), request.headers());
}

#[test]
fn a_streamed_body_is_recorded() {
    let mut sent = post();
    *sent.body_mut() = Some(reqwest::Body::wrap(Stream::text(&["a ", "stream"])));
    let saved = Http::new().save(&mut sent).unwrap();
    for _ in 0..3 {
        assert!(again(&saved).is_none());
        assert_eq!(text(&read_all(sent.body_mut().take().unwrap())), "a stream");
        sent = again(&saved).unwrap();
    }
}

#[test]
fn a_request_without_a_body_has_none_on_any_attempt() {
    let mut request = post();
    let saved = Http::new().save(&mut request);
    assert!(request.body().is_none());
    assert!(again(&saved.unwrap()).unwrap().body().is_none());
}

#[test]
fn a_body_over_the_cap_is_not_kept() {
    for body in [
        reqwest::Body::from("eleven bytes"),
        reqwest::Body::wrap(Stream::text(&["eleven bytes"]).with_length()),
    ] {
        let mut request = post();
        *request.body_mut() = Some(body);
        assert!(Http::new().max_replay_body(10).save(&mut request).is_none());
        assert_eq!(text(&read_all(request.body_mut().take().unwrap())), "eleven bytes");
    }
}

#[test]
fn header_or_option_marks_a_request_as_idempotent() {
    assert!(!answers(&Http::new(), post()));
    assert!(answers(&Http::new().assume_idempotent(), post()));
    let mut keyed = post();
    keyed.headers_mut().insert("idempotency-key", HeaderValue::from_static("17"));
    assert!(answers(&Http::new(), keyed));
}

fn answers(http: &Http, mut request: reqwest::Request) -> bool {
    let saved = http.save(&mut request);
    Replay::<reqwest::Request>::repeatable(http, &saved.unwrap(), true)
}

fn again(saved: &<Http as Replay<reqwest::Request>>::Saved) -> Option<reqwest::Request> {
    Replay::<reqwest::Request>::again(&Http::new(), saved, SECOND)
}

fn post() -> reqwest::Request {
    let mut request =
        reqwest::Request::new(Method::POST, "http://example.org/path".parse().unwrap());
    request.headers_mut().insert("accept", HeaderValue::from_static("a/b"));
    request
}

fn bytes(request: &reqwest::Request) -> Option<&[u8]> {
    request.body()?.as_bytes()
}

const SECOND: Attempt = Attempt::FIRST.next();

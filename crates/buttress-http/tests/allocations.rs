//! What it costs to be able to send a request again, and to know it again.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use allocation_counter::measure;
use buttress_core::{BoxError, KeyOf, Replay};
use buttress_http::{Http, Idempotent};
use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};

#[test]
fn a_request_with_headers_and_no_body_is_copied_without_an_allocation() {
    assert_eq!(allocations(|| get().body(Empty::<Bytes>::new()).unwrap()), 0);
    let boxed = || Empty::new().map_err(BoxError::from).boxed_unsync();
    assert_eq!(allocations(|| get().body::<UnsyncBoxBody<Bytes, _>>(boxed()).unwrap()), 0);
}

#[test]
fn many_calls_at_once_are_copied_without_an_allocation() {
    let calls = || -> Vec<_> {
        let calls = (0..30).map(|_| get().body(Empty::<Bytes>::new()).unwrap());
        calls.map(|request| Http::new().first(request)).collect()
    };
    drop(calls());
    let requests: Vec<_> = (0..30).map(|_| get().body(Empty::<Bytes>::new()).unwrap()).collect();
    let mut kept = Vec::with_capacity(30);
    let measured = measure(|| {
        kept.extend(requests.into_iter().map(|request| Http::new().first(request)));
    });
    drop(kept);
    assert_eq!(measured.count_total, 0);
}

#[test]
fn a_body_in_memory_is_copied_without_an_allocation_once_it_is_shared() {
    let body = Bytes::from(vec![b'x'; 100]);
    let shared = body.clone();
    assert_eq!(allocations(|| get().body(Full::new(shared.clone())).unwrap()), 0);
}

#[test]
fn a_key_is_one_allocation_of_its_own_length() {
    let request = get().body(Empty::<Bytes>::new()).unwrap();
    drop(Http::new().key(&request));
    let measured = measure(|| drop(Http::new().key(&request)));
    assert_eq!(measured.count_total, 1);
    assert!(measured.bytes_total < 550, "{measured:?}");
}

#[test]
fn an_extension_or_an_address_nobody_shares_yet_costs_what_a_clone_of_it_costs() {
    let unshared = || Uri::try_from("/path?query".to_owned()).unwrap();
    let request = || Request::get(unshared()).body(Empty::<Bytes>::new()).unwrap();
    let clone = unshared();
    let expected = measure(|| drop(clone.clone())).count_total;
    assert_eq!(allocations(request), expected);

    let marked = || get().extension(Idempotent).body(Empty::<Bytes>::new()).unwrap();
    let extensions = marked().extensions().clone();
    let expected = measure(|| drop(extensions.clone())).count_total;
    assert_eq!(allocations(marked), expected);
}

#[test]
fn a_streamed_body_costs_a_box_and_a_place_for_its_tape() {
    let stream = || Full::new(Bytes::from_static(b"stream")).map_err(BoxError::from).boxed_unsync();
    let request = || get().body::<UnsyncBoxBody<Bytes, _>>(stream()).unwrap();
    assert_eq!(allocations(request), 2);
}

/// Of one call, after others have left their buffers behind.
fn allocations<B>(mut request: impl FnMut() -> Request<B>) -> u64
where
    Http: Replay<Request<B>>,
{
    for _ in 0..3 {
        Http::new().first(request());
    }
    let request = request();
    let mut kept = None;
    let measured = measure(|| kept = Some(Http::new().first(request)));
    drop(kept);
    measured.count_total
}

fn get() -> http::request::Builder {
    Request::get("http://example.org/path?query")
        .header("accept", "application/json")
        .header("authorization", HeaderValue::from_bytes(&[b'x'; 300]).unwrap())
        .header("user-agent", "one/1.0")
        .header("x-request-id", "7c0f2a6e-2f4b-4b0e-9b54-0d8f5f3b7a11")
        .header("accept-encoding", "gzip")
}

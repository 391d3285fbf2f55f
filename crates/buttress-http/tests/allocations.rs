//! The allocations of copied requests, keys and shared responses.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use buttress_core::{BoxError, ByteBudget, KeyOf, Reader, Replay, Share};
use buttress_http::{Http, Idempotent, SharedBody};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame};
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
        calls.map(|mut request| Http::new().save(&mut request)).collect()
    };
    drop(calls());
    let mut requests: Vec<_> =
        (0..30).map(|_| get().body(Empty::<Bytes>::new()).unwrap()).collect();
    let mut kept = Vec::with_capacity(30);
    let measured = measure(|| {
        kept.extend(requests.iter_mut().map(|request| Http::new().save(request)));
    });
    drop(kept);
    assert_eq!(measured.count_total, 0);
}

#[test]
fn shared_body_in_memory_is_copied_without_an_allocation() {
    let body = Bytes::from(vec![b'x'; 100]);
    let shared = body.clone();
    assert_eq!(allocations(|| get().body(Full::new(shared.clone())).unwrap()), 0);
}

#[test]
fn key_is_a_single_allocation_of_its_length() {
    let request = get().body(Empty::<Bytes>::new()).unwrap();
    drop(Http::new().key(&request));
    let measured = measure(|| drop(Http::new().key(&request)));
    assert_eq!(measured.count_total, 1);
    assert!(measured.bytes_total < 550, "{measured:?}");
}

#[test]
fn unshared_uri_is_copied_without_an_allocation() {
    for uri in ["/path?query", "https://example.org/path?query"] {
        let unshared = || Uri::try_from(uri.to_owned()).unwrap();
        assert_eq!(allocations(|| Request::get(unshared()).body(()).unwrap()), 0);
    }
}

#[test]
fn extension_costs_its_clone() {
    let marked = || get().extension(Idempotent).body(Empty::<Bytes>::new()).unwrap();
    let extensions = marked().extensions().clone();
    let expected = measure(|| drop(extensions.clone())).count_total;
    assert_eq!(allocations(marked), expected);
}

#[test]
fn streamed_body_costs_a_box_and_a_recording_slot() {
    let stream = || Full::new(Bytes::from_static(b"stream")).map_err(BoxError::from).boxed_unsync();
    let request = || get().body::<UnsyncBoxBody<Bytes, _>>(stream()).unwrap();
    assert_eq!(allocations(request), 2);
}

#[test]
fn a_response_is_shared_for_three_allocations_and_two_for_its_first_frame() {
    let (response, allowance) = (response(1), Arc::new(ByteBudget::new(usize::MAX)));
    let mut shared = None;
    assert_eq!(measure(|| shared = Http::new().share(response, &allowance).ok()).count_total, 3);
    let shared = shared.unwrap();
    // The list of frames, and that of those who wait.
    assert_eq!(measure(|| drop(read(&shared, 1))).count_total, 2);
    assert_eq!(measure(|| drop(read(&shared, 1))).count_total, 0);
}

#[test]
fn frames_cost_no_allocation_but_for_their_list() {
    let shared = share(response(1000));
    // It doubles from 4 to 1024. One more is the list of those who wait.
    assert_eq!(measure(|| drop(read(&shared, 1000))).count_total, 9 + 1);
    assert_eq!(measure(|| drop(read(&shared, 1000))).count_total, 0);
}

#[test]
fn further_caller_costs_a_copy_of_the_headers() {
    let mut response = response(1);
    response.headers_mut().insert("etag", HeaderValue::from_static("one"));
    let shared = share(response);
    let headers = restore(&shared).headers().clone();
    let copy = measure(|| drop(headers.clone())).count_total;
    assert!(copy > 0);
    assert_eq!(measure(|| drop(restore(&shared))).count_total, copy);
}

#[test]
fn cached_response_takes_five_allocations_and_its_weight() {
    let mut response = response(3);
    response.headers_mut().insert("etag", HeaderValue::from_static("one"));
    response.headers_mut().insert("x-served-by", HeaderValue::from_static("somebody"));
    let shared = share(response);
    let ended = Pin::new(&mut read(&shared, 3)).poll_frame(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ended, Poll::Ready(None)));
    let mut kept = None;
    let taken = measure(|| kept = Some(Share::<Response<Many>>::for_cache(&Http::new(), &shared)));
    let weight = Share::<Response<Many>>::weight(&Http::new(), &kept.unwrap());
    // The response, its headers, their values and the count of those, and its data.
    assert_eq!(taken.count_current, 5);
    assert!(taken.bytes_current <= i64::try_from(weight).unwrap(), "{taken:?} of {weight}");
}

/// Of one call, after others have left their buffers behind.
fn allocations<B>(mut request: impl FnMut() -> Request<B>) -> u64
where
    Http: Replay<Request<B>>,
{
    for _ in 0..3 {
        Http::new().save(&mut request());
    }
    let mut request = request();
    let mut kept = None;
    let measured = measure(|| kept = Some(Http::new().save(&mut request)));
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

type Shared = <Http as Share<Response<Many>>>::Shared;

fn share(response: Response<Many>) -> Shared {
    Http::new().share(response, &Arc::new(ByteBudget::new(usize::MAX))).unwrap()
}

fn restore(shared: &Shared) -> Response<SharedBody<Many>> {
    Share::<Response<Many>>::restore(&Http::new(), shared, Reader::Follower)
}

fn read(shared: &Shared, frames: usize) -> SharedBody<Many> {
    let mut body = restore(shared).into_body();
    for _ in 0..frames {
        let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
    }
    body
}

fn response(frames: usize) -> Response<Many> {
    Response::new(Many(frames))
}

/// A body of this many frames.
#[derive(Debug)]
struct Many(usize);

impl Body for Many {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::from_static(&[b'x'; 600])))))
    }
}

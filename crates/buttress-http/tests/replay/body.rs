//! Streaming request bodies.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_http::ReplayBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Body;
use http_body_util::{Empty, Full, combinators::BoxBody};

use crate::stream::{Boxed, Step, Stream, read_all, read_some, text};

#[test]
fn every_attempt_carries_the_whole_body() {
    let (mut body, saved) = saved(Stream::text(&["all ", "of ", "it"]));
    for _ in 0..4 {
        let read = read_all(body);
        assert_eq!(text(&read), "all of it");
        assert!(read.ended);
        body = Boxed::again(&saved).unwrap();
    }
}

#[test]
fn a_body_over_the_cap_is_sent_to_its_end_but_not_again() {
    let chunk = Bytes::from(vec![b'x'; 10 * 1024]);
    let (body, saved) = saved(Stream::of(vec![Step::Data(chunk); 7]));
    assert_eq!(read_all(body).data.len(), 70 * 1024);
    assert!(Boxed::again(&saved).is_none());
}

#[test]
fn a_body_that_says_it_is_over_the_cap_is_not_recorded() {
    let mut body = Stream::of([Step::Data(vec![b'x'; 11].into())]).with_length().boxed();
    assert!(body.save(10).is_none());
    assert_eq!(read_all(body).data.len(), 11);
    assert!(Full::new(Bytes::from_static(b"eleven bytes")).save(10).is_none());
}

#[test]
fn a_body_of_exactly_the_cap_is_sent_again() {
    let mut body = Stream::text(&["0123", "456789"]).boxed();
    let saved = body.save(10).unwrap();
    assert_eq!(text(&read_all(body)), "0123456789");
    assert_eq!(text(&read_all(Boxed::again(&saved).unwrap())), "0123456789");
}

#[test]
fn trailers_are_kept() {
    let trailers = trailers(&[("checksum", "17"), ("checksum", "18")]);
    let stream = Stream::of([Step::Data("data".into()), Step::Trailers(trailers.clone())]);
    let (mut body, saved) = saved(stream);
    for _ in 0..3 {
        let read = read_all(body);
        assert_eq!(text(&read), "data");
        assert_eq!(&read.trailers, &Some(trailers.clone()));
        body = Boxed::again(&saved).unwrap();
    }
}

#[test]
fn trailers_count_towards_the_cap() {
    let stream =
        Stream::of([Step::Data("data".into()), Step::Trailers(trailers(&[("name", "value")]))]);
    let mut body = stream.clone().boxed();
    let saved = body.save(12);
    assert!(read_all(body).trailers.is_some());
    assert!(Boxed::again(&saved.unwrap()).is_none());
    let mut body = stream.boxed();
    let saved = body.save(13);
    assert!(read_all(body).trailers.is_some());
    assert!(Boxed::again(&saved.unwrap()).is_some());
}

#[test]
fn an_early_answer_leaves_nothing_to_send_while_the_body_is_still_read() {
    let (mut body, saved) = saved(Stream::text(&["still ", "being ", "read"]));
    assert_eq!(text(&read_some(&mut body, 1)), "still ");
    assert!(Boxed::again(&saved).is_none());
    assert_eq!(text(&read_all(body)), "being read");
}

#[test]
fn a_body_dropped_midway_is_replayed_and_read_on() {
    let (mut body, saved) = saved(Stream::of([
        Step::Data("the start, ".into()),
        Step::Pause,
        Step::Data("the middle, ".into()),
        Step::Data("the end".into()),
        Step::Trailers(trailers(&[("checksum", "17")])),
    ]));
    for polls in [1, 2, 3] {
        read_some(&mut body, polls);
        drop(body);
        body = Boxed::again(&saved).unwrap();
    }
    let read = read_all(body);
    assert_eq!(text(&read), "the start, the middle, the end");
    assert!(read.trailers.is_some());
}

#[test]
fn a_body_that_was_never_polled_is_sent_whole() {
    let (body, saved) = saved(Stream::text(&["untouched"]));
    drop(body);
    assert_eq!(text(&read_all(Boxed::again(&saved).unwrap())), "untouched");
}

#[test]
fn a_body_that_goes_over_the_cap_on_a_later_attempt_is_lost_then() {
    let mut body = Stream::text(&["01234", "56789"]).boxed();
    let saved = body.save(6).unwrap();
    read_some(&mut body, 1);
    drop(body);
    assert_eq!(text(&read_all(Boxed::again(&saved).unwrap())), "0123456789");
    assert!(Boxed::again(&saved).is_none());
}

#[test]
fn a_body_that_failed_is_not_sent_again() {
    let (body, saved) = saved(Stream::of([Step::Data("half".into()), Step::Fail]));
    let read = read_all(body);
    assert!(read.failed);
    assert!(Boxed::again(&saved).is_none());
}

#[test]
fn a_body_that_panicked_is_not_sent_again() {
    let (body, saved) = saved(Stream::of([Step::Data("half".into()), Step::Panic]));
    assert!(catch_unwind(AssertUnwindSafe(|| read_all(body))).is_err());
    assert!(Boxed::again(&saved).is_none());
}

#[test]
fn body_that_panicked_does_not_seem_to_end_if_it_is_polled_again() {
    let (mut body, saved) = saved(Stream::of([Step::Data("half".into()), Step::Panic]));
    for _ in 0..2 {
        // The body under the recording would report its end at the second poll.
        assert!(catch_unwind(AssertUnwindSafe(|| read_some(&mut body, 2))).is_err());
        assert!(!body.is_end_stream());
    }
    drop(body);
    assert!(Boxed::again(&saved).is_none());
}

/// octocrab #835.
#[test]
fn a_body_is_never_replaced_by_an_empty_one() {
    let (body, saved) = saved(Stream::text(&["something"]));
    let held = Boxed::again(&saved);
    assert!(held.is_none());
    drop(body);
    let second = Boxed::again(&saved).unwrap();
    assert!(!second.is_end_stream());
    assert!(Boxed::again(&saved).is_none(), "one reader at a time");
    assert_eq!(text(&read_all(second)), "something");
}

#[test]
fn a_body_read_to_its_last_frame_can_be_sent_again_at_once() {
    let (mut body, saved) = saved(Stream::text(&["known ", "length"]).with_length());
    assert_eq!(text(&read_some(&mut body, 2)), "known length");
    assert!(body.is_end_stream());
    let mut again = Boxed::again(&saved).unwrap();
    assert_eq!(text(&read_some(&mut again, 2)), "known length");
    assert!(again.is_end_stream());
    assert!(Boxed::again(&saved).is_some());
}

#[test]
fn the_length_is_the_same_on_every_attempt() {
    let (mut body, saved) = saved(Stream::text(&["known ", "length"]).with_length());
    for polls in [0, 1, 2, 3] {
        assert_eq!(body.size_hint().exact(), Some(12));
        let read = read_some(&mut body, polls);
        assert_eq!(body.size_hint().exact(), Some(12 - read.data.len() as u64));
        drop(body);
        body = Boxed::again(&saved).unwrap();
    }
}

#[test]
fn a_stream_without_a_length_never_gets_one() {
    let (mut body, saved) = saved(Stream::text(&["unknown ", "length"]));
    for polls in [1, 2, 3] {
        assert_eq!(body.size_hint().exact(), None);
        read_some(&mut body, polls);
        drop(body);
        body = Boxed::again(&saved).unwrap();
    }
    assert_eq!(body.size_hint().lower(), 14);
    assert_eq!(body.size_hint().exact(), None);
}

#[test]
fn an_empty_body_stays_empty_and_says_so() {
    let (body, saved) = saved(Stream::of([]).with_length());
    for body in [body, Boxed::again(&saved).unwrap(), Boxed::again(&saved).unwrap()] {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}

#[test]
fn many_small_frames_are_kept_in_the_order_they_came() {
    let steps: Vec<_> = (0..5000_u32)
        .map(|n| Step::Data(Bytes::from(n.to_string().repeat(if n % 50 == 0 { 300 } else { 1 }))))
        .collect();
    let mut body = Stream::of(steps).boxed();
    let saved = body.save(1 << 20).unwrap();
    let first = read_all(body);
    for _ in 0..2 {
        let mut again = Boxed::again(&saved).unwrap();
        let start = read_some(&mut again, 7);
        drop(again);
        assert!(first.data.starts_with(&start.data));
        assert_eq!(read_all(Boxed::again(&saved).unwrap()), first);
    }
}

#[test]
fn body_is_not_recorded_if_no_attempt_can_follow() {
    for watched in [true, false] {
        let chunk = Bytes::from(vec![b'x'; 1000]);
        let (mut body, saved) = saved(Stream::of([Step::Data(chunk)]));
        let _saved = watched.then_some(saved);
        let chunk = read_frame(&mut body).unwrap();
        assert_eq!(chunk.is_unique(), !watched);
    }
}

#[test]
fn a_body_that_goes_on_after_its_trailers_is_not_sent_again() {
    let (body, saved) = saved(Stream::of([
        Step::Trailers(trailers(&[("checksum", "17")])),
        Step::Data("more".into()),
    ]));
    assert_eq!(text(&read_all(body)), "more");
    assert!(Boxed::again(&saved).is_none());
}

#[test]
fn two_retries_can_record_the_same_body() {
    let (mut body, outer) = saved(Stream::text(&["twice ", "told"]));
    let inner = body.save(CAP).unwrap();
    assert_eq!(text(&read_all(body)), "twice told");
    assert_eq!(text(&read_all(Boxed::again(&inner).unwrap())), "twice told");
    drop(inner);
    assert_eq!(text(&read_all(Boxed::again(&outer).unwrap())), "twice told");
}

#[test]
fn bodies_that_are_in_memory_are_sent_again() {
    fn twice<B: ReplayBody + Body<Data = Bytes> + Unpin>(mut body: B) {
        let saved = body.save(CAP);
        let first = read_all(body);
        assert_eq!(read_all(B::again(&saved.unwrap()).unwrap()), first);
    }
    twice(Full::new(Bytes::from_static(b"full")));
    twice(Empty::new());
    twice("a string".to_owned());
    twice(BoxBody::<Bytes, _>::new(Full::new(Bytes::from_static(b"boxed, and Sync"))));
    #[cfg(feature = "axum")]
    twice(axum_core::body::Body::new(Stream::text(&["of ", "axum"])));
    #[cfg(feature = "tonic")]
    twice(tonic::body::Body::new(Stream::text(&["of ", "tonic"])));
}

const CAP: usize = 64 * 1024;

fn saved(stream: Stream) -> (Boxed, <Boxed as ReplayBody>::Saved) {
    let mut body = stream.boxed();
    let saved = body.save(CAP).unwrap();
    (body, saved)
}

fn read_frame(body: &mut Boxed) -> Option<Bytes> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        _ => None,
    }
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for &(name, value) in fields {
        trailers.append(name, HeaderValue::from_static(value));
    }
    trailers
}

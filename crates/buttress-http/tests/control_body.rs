//! The body that holds a layer's guard.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

mod scripted;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Guard, Rejection};
use buttress_http::{ControlBody, Protocol};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use scripted::{
    Cut, Script,
    Step::{Data, Fail, Trailers, Wait},
    Watch, too_late,
};
use tokio::time::{Instant, advance};
use tokio_test::task;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_grpc_body_is_cut_with_a_status_in_the_trailers() {
    let script = Script::new([Data("a"), Wait(SECOND), Data("b"), Wait(9 * SECOND), Data("c")]);
    let (inner, cut) = (script.watch(), Cut::after(3 * SECOND));
    let guard = cut.watch();
    let mut body = ControlBody::new(Protocol::Grpc, script, Some(cut));
    let start = Instant::now();

    assert_eq!(data(&mut body).await, "a");
    assert_eq!(data(&mut body).await, "b");
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();

    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(trailers["grpc-status"], "4");
    assert_eq!(trailers["grpc-message"], "deadline `db`: deadline exceeded");
    assert!(inner.is_dropped() && guard.is_dropped());
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_http_body_is_cut_with_the_rejection_as_its_error() {
    let script = Script::new([Data("a"), Wait(9 * SECOND), Data("b")]);
    let (inner, cut) = (script.watch(), Cut::after(3 * SECOND));
    let guard = cut.watch();
    let mut body = ControlBody::new(Protocol::Http, script, Some(cut));

    assert_eq!(data(&mut body).await, "a");
    let error = body.frame().await.unwrap().unwrap_err();

    assert_eq!(Rejection::find(&error).map(Rejection::origin), Some(too_late().origin()));
    assert!(inner.is_dropped() && guard.is_dropped());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn frame_ready_at_the_deadline_is_passed_on() {
    let script = Script::new([Wait(SECOND), Data("a"), Data("b"), Wait(SECOND)]);
    let mut body = ControlBody::new(Protocol::Http, script, Some(Cut::after(SECOND)));
    assert_eq!(data(&mut body).await, "a");
    assert_eq!(data(&mut body).await, "b");
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_http_body_that_is_always_ready_fails_with_the_first_frame_after_the_deadline() {
    let script = Script::new([Data("a"), Data("b"), Data("c"), Data("d")]);
    let (inner, cut) = (script.watch(), Cut::after(SECOND));
    let guard = cut.watch();
    let mut body = ControlBody::new(Protocol::Http, script, Some(cut));

    assert_eq!(data(&mut body).await, "a");
    advance(SECOND).await;
    assert_eq!(data(&mut body).await, "b", "at the very deadline");
    assert_eq!(body.size_hint().exact(), Some(2));
    advance(Duration::from_nanos(1)).await;
    let error = body.frame().await.unwrap().unwrap_err();

    assert!(Rejection::find(&error).is_some());
    assert!(inner.is_dropped() && guard.is_dropped());
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_grpc_body_that_is_always_ready_ends_with_status_4_after_the_deadline() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    for late in [Data("b"), Trailers(trailers)] {
        let script = Script::new([Data("a"), late, Wait(SECOND)]);
        let inner = script.watch();
        let mut body = ControlBody::new(Protocol::Grpc, script, Some(Cut::after(SECOND)));
        assert_eq!(data(&mut body).await, "a");
        advance(2 * SECOND).await;
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "4");
        assert!(inner.is_dropped());
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_frame_of_a_known_length_is_cut_after_the_deadline() {
    let full = Full::new(Bytes::from_static(b"abc"));
    let mut body = ControlBody::new(Protocol::Http, full, Some(Cut::after(SECOND)));
    advance(2 * SECOND).await;
    assert!(!body.is_end_stream());
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn an_end_and_an_error_after_the_deadline_pass_unchanged() {
    // A stream cannot say before that it has ended.
    let ended = StreamBody::new(
        tokio_test::stream_mock::StreamMockBuilder::<Result<Frame<Bytes>, BoxError>>::new().build(),
    );
    let mut body = ControlBody::new(Protocol::Grpc, ended, Some(Cut::after(SECOND)));
    advance(2 * SECOND).await;
    assert!(body.frame().await.is_none());

    let failing = Script::new([Fail("own".into())]);
    let mut body = ControlBody::new(Protocol::Grpc, failing, Some(Cut::after(SECOND)));
    advance(2 * SECOND).await;
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "own");
}

#[tokio::test(start_paused = true)]
async fn inner_of_nested_bodies_reports_the_deadline() {
    struct Never;
    impl Guard for Never {
        fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
            panic!("what the inner body says is not asked about")
        }
    }
    for protocol in [Protocol::Http, Protocol::Grpc] {
        let inner = ControlBody::new(protocol, Script::new([Data("a")]), Some(Cut::after(SECOND)));
        let mut body = ControlBody::new(protocol, inner, Some(Never));
        advance(2 * SECOND).await;
        match body.frame().await.unwrap() {
            Ok(frame) => assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "4"),
            Err(error) => assert!(Rejection::find(&error).is_some()),
        }
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_guard_is_asked_once_for_each_frame_that_is_ready_and_never_while_none_is() {
    struct Counts(Arc<AtomicUsize>);
    impl Guard for Counts {
        fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Poll::Pending
        }
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let script = Script::new([Data("a"), Wait(SECOND), Data("b"), Wait(SECOND)]);
    let guard = Counts(Arc::clone(&asked));
    let mut body = task::spawn(ControlBody::new(Protocol::Http, script, Some(guard)));
    let mut frames = 0;
    for _ in 0..20 {
        let polled = body.enter(|cx, body| body.poll_frame(cx));
        frames += usize::from(matches!(polled, Poll::Ready(Some(_))));
        advance(SECOND / 5).await;
    }
    assert_eq!(frames, 2);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_guard_is_dropped_with_the_last_frame_of_a_known_length() {
    let (mut body, guard) = guarded(Script::new([Data("a"), Data("b")]));
    data(&mut body).await;
    assert!(!guard.is_dropped());
    data(&mut body).await;
    assert!(guard.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn the_guard_is_dropped_with_the_trailers_and_nothing_is_cut_off_after_them() {
    let script = Script::new([Data("a"), Trailers(HeaderMap::new()), Wait(9 * SECOND)]);
    let (mut body, guard) = guarded(script);
    data(&mut body).await;
    assert!(!guard.is_dropped());
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert!(guard.is_dropped());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_guard_is_dropped_at_the_end_of_a_body_of_unknown_length() {
    let (mut body, guard) = guarded(Script::new([Data("a"), Wait(SECOND)]));
    data(&mut body).await;
    assert!(!guard.is_dropped());
    assert!(body.frame().await.is_none());
    assert!(guard.is_dropped());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_guard_is_dropped_at_an_error_which_passes_unchanged() {
    let (mut body, guard) = guarded(Script::new([Fail(BoxError::from(too_late())), Data("a")]));
    let error = body.frame().await.unwrap().unwrap_err();
    // Not boxed once more: the error itself is the rejection.
    assert!(error.is::<Rejection>());
    assert!(guard.is_dropped());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_body_drops_the_guard_after_what_is_inside() {
    struct After(Watch, Arc<AtomicBool>);
    impl Guard for After {}
    impl Drop for After {
        fn drop(&mut self) {
            self.1.store(self.0.is_dropped(), Ordering::SeqCst);
        }
    }
    let script = Script::new([Data("a"), Data("b")]);
    let after = Arc::new(AtomicBool::new(false));
    let guard = After(script.watch(), Arc::clone(&after));
    let mut body = ControlBody::new(Protocol::Http, script, Some(guard));
    data(&mut body).await;
    drop(body);
    assert!(after.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_ended_already_keeps_no_guard() {
    let cut = Cut::after(SECOND);
    let guard = cut.watch();
    let body = ControlBody::new(Protocol::Http, Empty::<Bytes>::new(), Some(cut));
    assert!(guard.is_dropped());
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_ambient_while_the_body_is_polled() {
    struct Asks;
    impl Body for Asks {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            assert_eq!(Deadline::current(), Some(Deadline::after(SECOND)));
            Poll::Ready(None)
        }
    }
    let mut body = ControlBody::new(Protocol::Http, Asks, Some(Cut::after(SECOND)));
    assert!(body.frame().await.is_none());
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn the_size_is_that_of_the_body_inside() {
    let full = Full::new(Bytes::from_static(b"abc"));
    let body = ControlBody::new(Protocol::Http, full, Some(Cut::after(SECOND)));
    assert_eq!(body.size_hint().exact(), Some(3));
    assert!(!body.is_end_stream());

    let streamed = ControlBody::new(Protocol::Http, Script::new([Wait(SECOND)]), None::<Cut>);
    assert_eq!(streamed.size_hint().upper(), SizeHint::new().upper());
    assert!(!streamed.is_end_stream());

    // `Script` has no default, and none is asked for.
    let empty = ControlBody::<Script, Cut>::default();
    assert_eq!(empty.size_hint().exact(), Some(0));
    assert!(empty.is_end_stream());
}

/// A body of known length that counts how often it is asked for its end.
struct Asked(Script, Arc<AtomicUsize>);

impl Body for Asked {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.is_end_stream()
    }
}

#[tokio::test(start_paused = true)]
async fn nested_bodies_ask_the_innermost_once_for_the_head_and_for_each_frame() {
    for depth in 1..=5 {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = || asked.swap(0, Ordering::SeqCst);
        let script = Script::new([Data("a"), Data("b"), Data("c")]);
        let mut body = Asked(script, Arc::clone(&asked)).boxed_unsync();
        let mut guards = Vec::new();
        for _ in 0..depth {
            let cut = Cut::after(SECOND);
            guards.push(cut.watch());
            body = ControlBody::new(Protocol::Http, body, Some(cut)).boxed_unsync();
        }
        assert!(!body.is_end_stream());
        assert_eq!(count(), 1, "the head under {depth}");
        for frame in ["a", "b", "c"] {
            assert!(!body.is_end_stream());
            assert_eq!(count(), 0);
            assert!(guards.iter().all(|guard| !guard.is_dropped()));
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), frame);
            assert_eq!(body.is_end_stream(), frame == "c");
            assert_eq!(count(), 1, "{frame} under {depth}");
        }
        assert!(guards.iter().all(Watch::is_dropped));
        assert!(body.frame().await.is_none());
        assert!(body.is_end_stream());
    }
}

#[tokio::test(start_paused = true)]
async fn end_that_shows_while_no_frame_is_ready_is_told() {
    struct Late(bool);
    impl Body for Late {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0 = true;
            Poll::Pending
        }
        fn is_end_stream(&self) -> bool {
            self.0
        }
    }
    let inner = ControlBody::new(Protocol::Http, Late(false), Some(Cut::after(SECOND)));
    let body = ControlBody::new(Protocol::Http, inner, Some(Cut::after(SECOND)));
    assert!(!body.is_end_stream());
    let mut body = task::spawn(body);
    assert!(body.enter(|cx, body| body.poll_frame(cx)).is_pending());
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_unpin_can_be_controlled() {
    struct Pinned(std::marker::PhantomPinned);
    impl Body for Pinned {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Pending
        }
    }
    let body = Pinned(std::marker::PhantomPinned);
    let mut body = Box::pin(ControlBody::new(Protocol::Http, body, Some(Cut::after(SECOND))));
    assert!(body.frame().await.unwrap().is_err());
}

fn guarded(script: Script) -> (ControlBody<Script, Cut>, Watch) {
    let cut = Cut::after(3 * SECOND);
    let guard = cut.watch();
    (ControlBody::new(Protocol::Grpc, script, Some(cut)), guard)
}

async fn data<G: Guard>(body: &mut ControlBody<Script, G>) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

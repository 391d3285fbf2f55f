//! The verdict that a guard is told at the end of a body, and bodies that a guard stops.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

mod scripted;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{
    BoxError, Deadline, Guard, Origin, Reason, Rejection, Respond, RetryHint, Verdict,
};
use buttress_http::{ControlBody, Http, Protocol};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use scripted::{
    Cut, Script,
    Step::{Data, Fail, Trailers, Wait},
    Watch,
};
use tokio::time::advance;
use tokio_test::task;

const SECOND: Duration = Duration::from_secs(1);

/// The verdicts that a guard was told.
type Told = Arc<Mutex<Vec<Verdict>>>;

/// Writes down each verdict, with a deadline as the ambient one. Checks that the inner body is gone
/// by then, if `inner` is given.
#[derive(Default)]
struct Records {
    told: Told,
    deadline: Option<Deadline>,
    inner: Option<Watch>,
}

impl Guard for Records {
    fn end(&mut self, verdict: Verdict) {
        assert!(self.inner.as_ref().is_none_or(Watch::is_dropped), "the work comes first");
        self.told.lock().unwrap().push(verdict);
    }

    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        Deadline::with(self.deadline, f)
    }
}

/// Reads `script` to its end, and returns the verdicts that its guard was told.
async fn told(protocol: Protocol, script: Script) -> Vec<Verdict> {
    let records = Records::default();
    let told = Arc::clone(&records.told);
    let mut body = ControlBody::new(protocol, script, Some(records));
    while body.frame().await.is_some() {}
    assert!(body.is_end_stream());
    drop(body);
    let told = told.lock().unwrap();
    told.clone()
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    fields.iter().copied().map(field).collect()
}

#[tokio::test(start_paused = true)]
async fn guard_is_told_of_a_success_once_at_the_last_frame_or_the_end() {
    for protocol in [Protocol::Http, Protocol::Grpc] {
        // Of known length, which ends with its last frame, and of unknown length.
        let known = Script::new([Data("a"), Data("b")]);
        assert_eq!(told(protocol, known).await, [Verdict::Success]);
        let unknown = Script::new([Data("a"), Wait(SECOND)]);
        assert_eq!(told(protocol, unknown).await, [Verdict::Success]);
        let nothing = Script::new([Wait(SECOND)]);
        assert_eq!(told(protocol, nothing).await, [Verdict::Success]);
    }
}

#[tokio::test(start_paused = true)]
async fn guard_is_told_the_verdict_of_the_trailers() {
    let exactly = |millis| RetryHint::Exactly(Duration::from_millis(millis));
    let table: [(&[(&str, &str)], Verdict); 10] = [
        (&[], Verdict::Success),
        (&[("server-timing", "1")], Verdict::Success),
        (&[("grpc-status", "0")], Verdict::Success),
        (&[("grpc-status", "14")], Verdict::Transient),
        (&[("grpc-status", "4")], Verdict::Expired),
        (&[("grpc-status", "5")], Verdict::Permanent),
        (&[("grpc-status", "8")], Verdict::Throttled(Some(RetryHint::Never))),
        (&[("grpc-status", "nonsense")], Verdict::Permanent),
        (
            &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "250")],
            Verdict::Throttled(Some(exactly(250))),
        ),
        (
            &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")],
            Verdict::Throttled(Some(RetryHint::Never)),
        ),
    ];
    for (fields, verdict) in table {
        for protocol in [Protocol::Http, Protocol::Grpc] {
            let script = Script::new([Data("a"), Trailers(trailers(fields)), Wait(SECOND)]);
            assert_eq!(told(protocol, script).await, [verdict], "{fields:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn guard_is_told_of_a_transient_failure_or_of_the_rejection_in_a_body_error() {
    let rejected = |reason| Rejection::new(reason, Origin::new("throttle"));
    let inside = std::io::Error::other(rejected(Reason::Overloaded));
    let table: [(BoxError, Verdict); 3] = [
        ("broken".into(), Verdict::Transient),
        (
            rejected(Reason::RateLimited).after(SECOND).into(),
            Verdict::rejected("throttle", Reason::RateLimited, Some(SECOND)),
        ),
        (inside.into(), Verdict::rejected("throttle", Reason::Overloaded, None)),
    ];
    for (error, verdict) in table {
        let script = Script::new([Data("a"), Fail(error)]);
        assert_eq!(told(Protocol::Http, script).await, [verdict]);
    }
}

#[tokio::test(start_paused = true)]
async fn body_error_is_judged_under_the_deadline_of_the_guard() {
    let early = Deadline::after(SECOND);
    for (deadline, verdict) in [
        (None, Verdict::TimedOut),
        (Some(Deadline::after(2 * SECOND)), Verdict::TimedOut),
        (Some(early), Verdict::rejected("deadline", Reason::DeadlineExceeded, None)),
    ] {
        let error = scripted::too_late().enforcing(early);
        let script = Script::new([Fail(BoxError::from(error))]);
        let records = Records { deadline, inner: Some(script.watch()), ..Records::default() };
        let told = Arc::clone(&records.told);
        let mut body = ControlBody::new(Protocol::Http, script, Some(records));
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(*told.lock().unwrap(), [verdict]);
    }
}

#[tokio::test(start_paused = true)]
async fn outer_guard_is_told_how_an_inner_guard_cut_the_body_off() {
    let cut = || {
        let script = Script::new([Data("a"), Wait(9 * SECOND)]);
        (script, Cut::after(SECOND))
    };
    for (protocol, verdict) in
        [(Protocol::Http, Verdict::TimedOut), (Protocol::Grpc, Verdict::Expired)]
    {
        let (script, cut) = cut();
        let records = Records::default();
        let told = Arc::clone(&records.told);
        let inner = ControlBody::new(protocol, script, Some(cut));
        let mut body = ControlBody::new(protocol, inner, Some(records));
        while body.frame().await.is_some() {}
        assert_eq!(*told.lock().unwrap(), [verdict]);
    }
}

#[test]
fn guard_of_a_body_that_has_ended_with_its_head_is_told_of_a_success_once() {
    let request = Request::new(());
    let http = Http::new();
    let told = Told::default();
    let records = || Some(Records { told: Arc::clone(&told), ..Records::default() });
    let seed = Respond::<_, Response<Empty<Bytes>>, BoxError>::seed(&http, &request);
    let admitted = Respond::<Request<()>, _, BoxError>::admit(
        &http,
        seed,
        Response::new(Empty::<Bytes>::new()),
        records(),
    );
    assert_eq!(*told.lock().unwrap(), [Verdict::Success]);
    assert!(admitted.body().is_end_stream());
    let mut body = task::spawn(admitted.into_body());
    assert!(matches!(body.enter(|cx, body| body.poll_frame(cx)), Poll::Ready(None)));
    drop(body);
    drop(ControlBody::new(Protocol::Grpc, Full::new(Bytes::new()), records()));
    assert_eq!(*told.lock().unwrap(), [Verdict::Success; 2]);
}

#[tokio::test(start_paused = true)]
async fn guard_of_a_dropped_or_panicked_body_is_told_nothing() {
    struct Panics;
    impl Body for Panics {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            panic!("on purpose")
        }
    }
    let told = Told::default();
    let records = || Some(Records { told: Arc::clone(&told), ..Records::default() });
    let mut body = ControlBody::new(Protocol::Http, Script::new([Data("a"), Data("b")]), records());
    body.frame().await.unwrap().unwrap();
    drop(body);
    let mut body = task::spawn(ControlBody::new(Protocol::Http, Panics, records()));
    let polled =
        catch_unwind(AssertUnwindSafe(|| body.enter(|cx, body| body.poll_frame(cx).map(|_| ()))));
    assert!(polled.is_err());
    drop(body);
    assert_eq!(*told.lock().unwrap(), []);
}

/// Stops, or cuts off, once `fired` is set, as the guard of a superseded call does.
struct Superseded {
    fired: Arc<Mutex<bool>>,
    told: Told,
}

impl Superseded {
    fn poll(&self) -> Poll<Rejection> {
        if *self.fired.lock().unwrap() {
            Poll::Ready(Rejection::new(Reason::Superseded, Origin::new("order")))
        } else {
            Poll::Pending
        }
    }
}

impl Guard for Superseded {
    fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        self.poll()
    }

    fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        self.poll()
    }

    fn end(&mut self, verdict: Verdict) {
        self.told.lock().unwrap().push(verdict);
    }
}

/// The frame of a body after its guard has fired. Checks that nothing follows, that the body says
/// so, and that the guard is told nothing.
async fn after_supersession(protocol: Protocol, script: Script) -> Result<Frame<Bytes>, BoxError> {
    let (fired, told, inner) = (Arc::new(Mutex::new(false)), Told::default(), script.watch());
    let guard = Superseded { fired: Arc::clone(&fired), told: Arc::clone(&told) };
    let mut body = ControlBody::new(protocol, script, Some(guard));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
    *fired.lock().unwrap() = true;
    let last = body.frame().await.unwrap();
    assert!(inner.is_dropped());
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
    drop(body);
    assert_eq!(*told.lock().unwrap(), [], "a guard knows that it has stopped the body itself");
    last
}

/// Bodies that have more to deliver: data of known and of unknown length, trailers that report a
/// success or a failure, and nothing yet.
fn unfinished() -> [Script; 6] {
    let ok = trailers(&[("grpc-status", "0")]);
    let failed = trailers(&[("grpc-status", "13")]);
    [
        Script::new([Data("a"), Data("late")]),
        Script::new([Data("a"), Data("late"), Wait(SECOND)]),
        Script::new([Data("a"), Data("late"), Trailers(ok.clone())]),
        Script::new([Data("a"), Trailers(ok)]),
        Script::new([Data("a"), Trailers(failed)]),
        Script::new([Data("a"), Wait(SECOND), Data("late")]),
    ]
}

/// OR-04: late bytes and trailers of a superseded call are not delivered.
#[tokio::test(start_paused = true)]
async fn superseded_grpc_body_ends_with_trailers_14_whatever_is_buffered() {
    for script in unfinished() {
        let frame = after_supersession(Protocol::Grpc, script).await.unwrap();
        let trailers = frame.into_trailers().unwrap();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["grpc-retry-pushback-ms"]),
            (&HeaderValue::from_static("14"), &HeaderValue::from_static("-1"),)
        );
    }
}

/// OR-04: late bytes and trailers of a superseded call are not delivered.
#[tokio::test(start_paused = true)]
async fn superseded_http_body_ends_with_an_error_whatever_is_buffered() {
    for script in unfinished() {
        let error = after_supersession(Protocol::Http, script).await.unwrap_err();
        assert_eq!(Rejection::find(&error).map(Rejection::reason), Some(Reason::Superseded));
    }
}

#[tokio::test(start_paused = true)]
async fn guard_that_cuts_a_body_off_is_told_nothing() {
    struct Both(Cut, Told);
    impl Guard for Both {
        fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
            self.0.poll_cut(cx)
        }
        fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
            self.0.poll_stop(cx)
        }
        fn end(&mut self, verdict: Verdict) {
            self.1.lock().unwrap().push(verdict);
        }
    }
    for steps in [[Data("a"), Wait(9 * SECOND)], [Data("a"), Data("b")]] {
        let told = Told::default();
        let cut = Cut::after(SECOND);
        let dropped = cut.watch();
        let guard = Both(cut, Arc::clone(&told));
        let mut body = ControlBody::new(Protocol::Http, Script::new(steps), Some(guard));
        body.frame().await.unwrap().unwrap();
        advance(2 * SECOND).await;
        assert!(body.frame().await.unwrap().is_err());
        assert!(dropped.is_dropped());
        assert!(body.frame().await.is_none());
        assert_eq!(*told.lock().unwrap(), []);
    }
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use super::*;

    fn admit(response: reqwest::Response, told: &Told) -> reqwest::Response {
        let request = reqwest::Request::new(
            reqwest::Method::GET,
            reqwest::Url::parse("http://example.test/").unwrap(),
        );
        let http = Http::new();
        let seed = Respond::<_, reqwest::Response, BoxError>::seed(&http, &request);
        let guard = Records { told: Arc::clone(told), ..Records::default() };
        Respond::<reqwest::Request, _, BoxError>::admit(&http, seed, response, Some(guard))
    }

    fn response(body: impl Into<reqwest::Body>) -> reqwest::Response {
        Response::new(body.into()).into()
    }

    #[tokio::test(start_paused = true)]
    async fn guard_of_a_response_of_reqwest_is_told_its_end_once() {
        let told = Told::default();
        assert_eq!(admit(response("text"), &told).text().await.unwrap(), "text");
        assert_eq!(*told.lock().unwrap(), [Verdict::Success]);

        let streamed = Script::new([Data("a"), Trailers(trailers(&[("grpc-status", "14")]))]);
        let streamed = response(reqwest::Body::wrap(streamed));
        admit(streamed, &told).bytes().await.unwrap();
        assert_eq!(*told.lock().unwrap(), [Verdict::Success, Verdict::Transient]);

        let failing = response(reqwest::Body::wrap(Script::new([Fail("broken".into())])));
        admit(failing, &told).bytes().await.unwrap_err();
        assert_eq!(told.lock().unwrap().last(), Some(&Verdict::Transient));
        assert_eq!(told.lock().unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn guard_of_an_empty_response_of_reqwest_is_told_of_a_success_once() {
        let told = Told::default();
        let admitted = admit(response(""), &told);
        assert_eq!(admitted.bytes().await.unwrap(), "");
        assert_eq!(*told.lock().unwrap(), [Verdict::Success]);
    }

    #[tokio::test(start_paused = true)]
    async fn rejection_inside_the_wrappers_of_reqwest_is_found() {
        let told = Told::default();
        let rejection = Rejection::new(Reason::Overloaded, Origin::new("throttle"));
        let failing = Script::new([Fail(BoxError::from(rejection))]);
        // Wrapped twice, as by two layers.
        let body = reqwest::Body::wrap(reqwest::Body::wrap(failing));
        admit(response(body), &told).bytes().await.unwrap_err();
        let verdict = Verdict::rejected("throttle", Reason::Overloaded, None);
        assert_eq!(*told.lock().unwrap(), [verdict]);
    }
}

//! The verdicts on outcomes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{error::Error, fmt, io, time::Duration};

use buttress_core::{
    BoxError, By, Classify, Deadline, Judge, Origin, Reason, Rejection, RetryHint,
    Verdict::{self, Expired, Permanent, Success, Throttled, Transient},
};
use buttress_http::{Http, never_processed};
use http::{Request, Response};

type Outcome<'a, E = BoxError> = Result<&'a Response<()>, &'a E>;

#[test]
fn status_decides_the_verdict() {
    for (status, verdict) in [
        (100, Success),
        (200, Success),
        (204, Success),
        (304, Success),
        (399, Success),
        (400, Permanent),
        (401, Permanent),
        (404, Permanent),
        (408, Transient),
        (409, Permanent),
        (413, Permanent),
        (425, Transient),
        (429, Throttled(None)),
        (499, Permanent),
        (500, Transient),
        (501, Permanent),
        (502, Transient),
        (503, Transient),
        (504, Transient),
        (505, Permanent),
        (511, Transient),
        (599, Transient),
        (600, Permanent),
        (999, Permanent),
    ] {
        assert_eq!(of_response(&response(status, &[])), verdict, "{status}");
    }
}

#[test]
fn retry_after_is_read_from_429_and_503_only() {
    let after = |status| of_response(&response(status, &[("retry-after", "3")]));
    let hinted = Throttled(Some(RetryHint::After(Duration::from_secs(3))));
    assert_eq!(after(429), hinted);
    assert_eq!(after(503), hinted);
    for status in [408, 425, 500, 502, 504] {
        assert_eq!(after(status), Transient, "{status}");
    }
    assert_eq!(after(413), Permanent);
    assert_eq!(after(301), Success);
}

#[test]
fn malformed_retry_after_is_ignored() {
    assert_eq!(of_response(&response(429, &[("retry-after", "9e99")])), Throttled(None));
    assert_eq!(of_response(&response(503, &[("retry-after", "9e99")])), Transient);
}

#[test]
fn grpc_verdict_follows_the_status_in_the_head() {
    let never = Throttled(Some(RetryHint::Never));
    let after = Throttled(Some(RetryHint::Exactly(Duration::from_millis(25))));
    for (code, pushback, verdict) in [
        ("0", None, Success),
        ("0", Some("-1"), Success),
        ("14", None, Transient),
        ("14", Some("25"), after),
        ("14", Some("-1"), never),
        ("14", Some("soon"), never),
        ("8", None, never),
        ("8", Some("25"), after),
        ("8", Some("-1"), never),
        ("3", None, Permanent),
        ("3", Some("25"), Permanent),
        ("3", Some("-1"), never),
        ("4", None, Expired),
        ("1", None, Permanent),
        ("unheard of", None, Permanent),
    ] {
        let mut fields = vec![("content-type", "application/grpc"), ("grpc-status", code)];
        fields.extend(pushback.map(|pushback| ("grpc-retry-pushback-ms", pushback)));
        let response = response(200, &fields);
        assert_eq!(of_grpc(&response), verdict, "{code} {pushback:?}");
        assert_eq!(of_response(&response), verdict, "{code} {pushback:?}, by its content type");
    }
}

#[test]
fn grpc_response_with_messages_is_a_success() {
    assert_eq!(of_grpc(&response(200, &[("content-type", "application/grpc")])), Success);
}

#[test]
fn status_of_an_intermediary_without_grpc_is_mapped() {
    for (status, verdict) in [
        (400, Permanent),
        (401, Permanent),
        (404, Permanent),
        (429, Transient),
        (500, Permanent),
        (502, Transient),
        (503, Transient),
        (504, Transient),
    ] {
        assert_eq!(of_grpc(&response(status, &[])), verdict, "{status}");
    }
    assert_eq!(
        of_grpc(&response(503, &[("retry-after", "1")])),
        Throttled(Some(RetryHint::After(Duration::from_secs(1))))
    );
}

#[test]
fn grpc_answer_is_a_status_of_the_service_itself() {
    let grpc = ("content-type", "application/grpc+proto");
    for (status, fields, answered) in [
        (200, &[grpc, ("grpc-status", "14")][..], true),
        (200, &[grpc, ("grpc-status", "0")], true),
        (200, &[grpc], true),
        // A proxy that knows no gRPC.
        (429, &[], false),
        (502, &[("content-type", "text/html")], false),
        (503, &[("retry-after", "1")], false),
        (504, &[], false),
        (200, &[("content-type", "text/html")], false),
        // The error page of a proxy that was taught some: nginx's recipe answers 204.
        (204, &[grpc, ("grpc-status", "14")], false),
        (502, &[grpc, ("grpc-status", "14")], false),
        (200, &[("grpc-status", "14")], false),
    ] {
        assert_eq!(grpc_answered(Ok(&response(status, fields))), answered, "{status} {fields:?}");
    }
    assert!(!grpc_answered(Err(&BoxError::from("reset"))));
}

#[test]
fn response_made_by_a_layer_is_no_answer() {
    let why = Rejection::new(Reason::Overloaded, Origin::new("throttle"));
    let mut rejected =
        response(200, &[("content-type", "application/grpc"), ("grpc-status", "14")]);
    rejected.extensions_mut().insert(why);
    assert!(!grpc_answered(Ok(&rejected)));
    assert!(!answered(&Request::new(()), Ok(&rejected)));
    assert!(answered(&Request::new(()), Ok(&response(504, &[]))));
}

#[test]
fn user_classifier_does_not_change_is_answer() {
    let judge = By(|_: Result<&Response<()>, &BoxError>| Transient);
    let (http, request) = (Http::new(), grpc_request());
    let seed = Judge::<_, _, Response<()>, BoxError>::seed(&judge, &http, &request);
    let answered = |response: &Response<()>| {
        Judge::<_, Request<()>, _, BoxError>::is_answer(&judge, &http, &seed, Ok(response))
    };
    assert!(!answered(&response(504, &[])));
    assert!(answered(&response(
        200,
        &[("content-type", "application/grpc"), ("grpc-status", "14")]
    )));
}

#[test]
fn rejection_takes_precedence_over_status_and_error() {
    let rejection =
        Rejection::new(Reason::Overloaded, Origin::new("throttle")).after(Duration::from_millis(7));
    let delay = Some(Duration::from_millis(7));
    let rejected = Verdict::rejected("throttle", Reason::Overloaded, delay);
    for status in [200, 503] {
        let mut response = response(status, &[]);
        response.extensions_mut().insert(rejection.clone());
        assert_eq!(of_response(&response), rejected);
        assert_eq!(of_grpc(&response), rejected);
    }
    let boxed = BoxError::from(io::Error::other(Wrapped(rejection.into())));
    assert_eq!(of_error(&boxed), rejected);
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_is_timed_out_while_time_is_left() {
    let inner = Deadline::after(Duration::from_millis(10));
    let rejection =
        Rejection::new(Reason::DeadlineExceeded, Origin::new("deadline")).enforcing(inner);
    let mut response = response(504, &[]);
    response.extensions_mut().insert(rejection);
    let outer = Deadline::after(Duration::from_millis(20));
    let verdict = |ambient| Deadline::with(Some(ambient), || of_response(&response));
    assert_eq!(verdict(outer), Verdict::TimedOut);
    assert!(matches!(verdict(inner), Verdict::Rejected { .. }));
}

#[test]
fn transport_error_is_transient() {
    for kind in [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::TimedOut,
        io::ErrorKind::ConnectionRefused,
    ] {
        assert_eq!(of_error(&io::Error::from(kind)), Transient, "{kind}");
        assert_eq!(of_error(&BoxError::from(io::Error::from(kind))), Transient, "{kind}");
    }
    assert_eq!(of_error(&BoxError::from("something of the user's")), Transient);
}

#[test]
fn client_misuse_is_permanent() {
    assert_eq!(of_error(&io::Error::from(io::ErrorKind::InvalidInput)), Permanent);
    assert_eq!(of_error(&io::Error::from(io::ErrorKind::Unsupported)), Permanent);
}

#[test]
fn error_of_an_unknown_type_is_unknown_unless_boxed() {
    assert_eq!(of_error(&Wrapped("opaque".into())), Verdict::Unknown);
    assert_eq!(of_error(&BoxError::from(Wrapped("opaque".into()))), Transient);
}

#[test]
fn error_that_is_its_own_source_ends_the_walk() {
    assert!(!never_processed(&Endless));
    assert_eq!(of_error(&BoxError::from(Endless)), Transient);
}

#[cfg(feature = "tonic")]
#[test]
fn tonic_status_is_judged_by_its_source() {
    use tonic::{Code, ConnectError, Status};

    assert_eq!(of_error(&Status::unavailable("elsewhere")), Transient);
    assert_eq!(of_error(&Status::not_found("nowhere")), Permanent);
    let mut broken = Status::new(Code::Unknown, "transport error");
    broken.set_source(std::sync::Arc::new(io::Error::from(io::ErrorKind::BrokenPipe)));
    assert_eq!(of_error(&broken), Transient);
    let mut unreachable = Status::unavailable("tcp connect error");
    unreachable.set_source(std::sync::Arc::new(ConnectError("refused".into())));
    assert_eq!(of_error(&unreachable), Verdict::NeverProcessed);
}

#[cfg(feature = "hyper")]
#[test]
fn a_stream_reset_by_the_caller_is_not_a_refusal() {
    let refused = h2::Error::from(h2::Reason::REFUSED_STREAM);
    assert!(!never_processed(&refused));
    assert_ne!(of_error(&refused), Verdict::NeverProcessed);
}

fn of_response(response: &Response<()>) -> Verdict {
    judge(&Request::new(()), Ok::<_, &BoxError>(response))
}

fn of_grpc(response: &Response<()>) -> Verdict {
    judge(&grpc_request(), Ok::<_, &BoxError>(response))
}

fn grpc_request() -> Request<()> {
    Request::post("/").header("content-type", "application/grpc+proto").body(()).unwrap()
}

fn grpc_answered(outcome: Outcome<'_>) -> bool {
    answered(&grpc_request(), outcome)
}

fn answered(request: &Request<()>, outcome: Outcome<'_>) -> bool {
    let seed = Classify::<_, Response<()>, BoxError>::seed(&Http::new(), request);
    Classify::<Request<()>, _, _>::is_answer(&Http::new(), &seed, outcome)
}

fn of_error<E: 'static>(error: &E) -> Verdict {
    judge(&Request::new(()), Err(error))
}

fn judge<E: 'static>(request: &Request<()>, outcome: Outcome<'_, E>) -> Verdict {
    let seed = Classify::<_, Response<()>, E>::seed(&Http::new(), request);
    Classify::<Request<()>, _, _>::classify(&Http::new(), &seed, outcome)
}

fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let response = Response::builder().status(status);
    let response =
        fields.iter().fold(response, |response, &(name, value)| response.header(name, value));
    response.body(()).unwrap()
}

#[derive(Debug)]
struct Wrapped(BoxError);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

#[derive(Debug)]
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("endless")
    }
}

impl Error for Endless {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

//! Finding a rejection, and the verdict on it.

use std::{error::Error, fmt, io, time::Duration};

use buttress_core::{
    BoxError, Classify, Deadline, Origin, Plain, Reason, Rejection, RetryHint, Verdict,
};

fn overloaded() -> Rejection {
    Rejection::new(Reason::Overloaded, Origin::new("throttle")).after(Duration::from_secs(1))
}

fn exceeded(deadline: Deadline) -> Rejection {
    Rejection::new(Reason::DeadlineExceeded, Origin::new("deadline")).enforcing(deadline)
}

/// An error that wraps another.
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

/// An error that says it is its own cause.
#[derive(Debug)]
struct Circular;

impl fmt::Display for Circular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("circular")
    }
}

impl Error for Circular {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[test]
fn rejection_is_found_in_itself_and_in_boxed_and_io_errors() {
    let why = overloaded();
    assert_eq!(Rejection::find(&why), Some(&why));
    assert_eq!(Rejection::find(&BoxError::from(why.clone())), Some(&why));
    assert_eq!(Rejection::find(&io::Error::from(why.clone())), Some(&why));
}

#[test]
fn rejection_is_found_along_sources_and_through_io_errors() {
    let why = overloaded();
    let once = BoxError::from(Wrapped(why.clone().into()));
    assert_eq!(Rejection::find(&once), Some(&why));
    let twice = BoxError::from(Wrapped(Box::new(io::Error::from(why.clone()))));
    assert_eq!(Rejection::find(&twice), Some(&why));
    let outside = io::Error::other(Wrapped(twice));
    assert_eq!(Rejection::find(&outside), Some(&why));
    let nested = io::Error::other(io::Error::other(io::Error::from(why.clone())));
    assert_eq!(Rejection::find(&nested), Some(&why));
}

#[test]
fn outermost_rejection_is_found_first() {
    let outer = Rejection::new(Reason::CircuitOpen, Origin::new("breaker"));
    let error = io::Error::from(outer.clone());
    assert_eq!(Rejection::find(&BoxError::from(Wrapped(error.into()))), Some(&outer));
}

#[test]
fn opaque_error_contains_no_rejection() {
    assert_eq!(Rejection::find(&BoxError::from("down")), None);
    assert_eq!(Rejection::find(&io::Error::from(io::ErrorKind::TimedOut)), None);
    assert_eq!(Rejection::find(&Wrapped(overloaded().into())), None, "a type of the user's own");
    assert_eq!(Rejection::in_chain(&Wrapped(overloaded().into())), Some(&overloaded()));
}

#[test]
fn circular_error_chain_ends() {
    assert_eq!(Rejection::find(&BoxError::from(Circular)), None);
}

#[test]
fn rejection_becomes_an_io_error_of_the_fitting_kind() {
    let busy = io::Error::from(overloaded());
    assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
    assert_eq!(busy.to_string(), "throttle: overloaded, retry after 1s");
    let late = Rejection::new(Reason::DeadlineExceeded, Origin::new("deadline").named("db"));
    let late = io::Error::from(late);
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    assert_eq!(late.to_string(), "deadline `db`: deadline exceeded");
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_is_timed_out_while_the_caller_has_time_left() {
    let attempt = Deadline::after(Duration::from_secs(1));
    let whole = Deadline::after(Duration::from_secs(2));
    tokio::time::advance(Duration::from_secs(1)).await;
    let verdict = |own| Deadline::with(own, || Verdict::from_rejection(&exceeded(attempt)));

    assert_eq!(verdict(None), Verdict::TimedOut, "a reader without a deadline has time left");
    assert_eq!(verdict(Some(whole)), Verdict::TimedOut);
    let stop = Verdict::rejected("deadline", Reason::DeadlineExceeded, None);
    assert_eq!(verdict(Some(attempt)), stop, "the reader's own deadline was enforced");
    let earlier = Deadline::after(Duration::ZERO);
    assert_eq!(verdict(Some(earlier)), stop, "the deadline enforced is not before the reader's");

    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(verdict(Some(whole)), stop, "no time is left by now");
}

#[tokio::test(start_paused = true)]
async fn rejection_without_a_deadline_is_judged_by_the_ambient_deadline() {
    let why = Rejection::new(Reason::DeadlineExceeded, Origin::new("theirs"));
    let own = Deadline::after(Duration::from_secs(1));
    let verdict = || Deadline::with(Some(own), || Verdict::from_rejection(&why));
    assert_eq!(verdict(), Verdict::TimedOut);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(matches!(verdict(), Verdict::Rejected { by: "theirs", .. }));
}

#[tokio::test(start_paused = true)]
async fn other_rejections_are_rejected_verdicts_at_any_time() {
    for reason in [
        Reason::Overloaded,
        Reason::RateLimited,
        Reason::NeverAdmissible,
        Reason::CircuitOpen,
        Reason::Superseded,
    ] {
        let why = Rejection::new(reason, Origin::new("below").named("db"));
        let local = |retry_after| Verdict::rejected("below", reason, retry_after);
        assert_eq!(Verdict::from_rejection(&why), local(None));
        let delay = Duration::from_millis(5);
        assert_eq!(Verdict::from_rejection(&why.after(delay)), local(Some(delay)));
    }
}

#[test]
fn plain_classifies_answers_errors_and_rejections() {
    let judge = |outcome: Result<(), BoxError>| {
        Classify::<u32, (), BoxError>::classify(&Plain, &(), outcome.as_ref())
    };
    assert_eq!(judge(Ok(())), Verdict::Success);
    assert_eq!(judge(Err("down".into())), Verdict::Transient);
    let rejected = judge(Err(Wrapped(overloaded().into()).into()));
    assert_eq!(rejected, Verdict::from_rejection(&overloaded()));
}

#[test]
fn closure_classifies_outcomes() {
    let classify = |outcome: Result<&u32, &BoxError>| match outcome {
        Ok(200) => Verdict::Success,
        Ok(429) => Verdict::Throttled(Some(RetryHint::After(Duration::from_secs(1)))),
        Ok(_) => Verdict::Permanent,
        Err(_) => Verdict::Unknown,
    };
    let judge = |outcome: Result<u32, BoxError>| {
        Classify::<(), u32, BoxError>::classify(&classify, &(), outcome.as_ref())
    };
    assert_eq!(judge(Ok(200)), Verdict::Success);
    assert!(matches!(judge(Ok(429)), Verdict::Throttled(Some(RetryHint::After(_)))));
    assert_eq!(judge(Ok(404)), Verdict::Permanent);
    assert_eq!(judge(Err("down".into())), Verdict::Unknown);
    assert_ne!(Verdict::Unknown, Verdict::Permanent);
}

//! Upstreams that number their calls, a cloneable error, and calls that are polled by hand.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use buttress_core::{Reason, Rejection};
use buttress_testkit::{Script, Scripted};
use tokio_test::{
    assert_pending, assert_ready,
    task::{self, Spawn},
};
use tower::ServiceExt;
use tower_service::Service;

/// An upstream whose responses and errors hold the number of the call, from 1.
pub(crate) type Upstream = Scripted<u32, usize, Failure>;

/// The error of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The service failed in the call of this number.
    Down(usize),
    Rejected(Reason),
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection.reason())
    }
}

pub(crate) const PANICKED: Failure = Failure::Rejected(Reason::Panicked);

/// Creates an upstream whose calls succeed after `delay`.
pub(crate) fn taking(delay: Duration) -> Upstream {
    upstream(delay, Ok)
}

/// Creates an upstream whose calls fail after `delay`.
pub(crate) fn failing(delay: Duration) -> Upstream {
    upstream(delay, |number| Err(Failure::Down(number)))
}

/// Creates an upstream whose calls take `delay`, and have the outcome for their number.
pub(crate) fn upstream(
    delay: Duration,
    outcome: impl Fn(usize) -> Result<usize, Failure> + Send + Sync + 'static,
) -> Upstream {
    let (calls, outcome) = (AtomicUsize::new(0), Arc::new(outcome));
    let serve = move |_| {
        let number = calls.fetch_add(1, SeqCst) + 1;
        let outcome = Arc::clone(&outcome);
        async move {
            tokio::time::sleep(delay).await;
            outcome(number)
        }
    };
    Script::new().serve(serve).service()
}

/// A call on a clone of `service`, polled by hand.
pub(crate) type Call<Res, E = Failure> =
    Spawn<Pin<Box<dyn Future<Output = Result<Res, E>> + Send>>>;

pub(crate) fn call<S, Req>(service: &S, request: Req) -> Call<S::Response, S::Error>
where
    S: Service<Req, Future: Send> + Clone + Send + 'static,
    Req: Send + 'static,
{
    task::spawn(Box::pin(service.clone().oneshot(request)))
}

/// Makes a call on a clone of `service`, and polls the call once, which is pending.
pub(crate) fn waiting<S, Req>(service: &S, request: Req) -> Call<S::Response, S::Error>
where
    S: Service<Req, Future: Send, Response: std::fmt::Debug, Error: std::fmt::Debug>
        + Clone
        + Send
        + 'static,
    Req: Send + 'static,
{
    let mut call = call(service, request);
    assert_pending!(call.poll());
    call
}

/// Polls woken calls until none is woken. Returns the number of polls, and the outcomes.
pub(crate) fn settle<Res, E>(calls: &mut [Option<Call<Res, E>>]) -> (usize, Vec<Result<Res, E>>) {
    let (mut polls, mut outcomes) = (0, Vec::new());
    loop {
        let before = polls;
        for slot in calls.iter_mut() {
            let Some(call) = slot.as_mut().filter(|call| call.is_woken()) else { continue };
            polls += 1;
            if let std::task::Poll::Ready(outcome) = call.poll() {
                outcomes.push(outcome);
                *slot = None;
            }
        }
        if polls == before {
            return (polls, outcomes);
        }
    }
}

/// Polls a call once, and returns its outcome.
pub(crate) fn outcome<Res: std::fmt::Debug, E: std::fmt::Debug>(
    mut call: Call<Res, E>,
) -> Result<Res, E> {
    assert_ready!(call.poll())
}

/// Runs a test without tokio's cooperative budget, which many calls in one task would exhaust.
pub(crate) fn in_one_task<F: Future>(test: F) -> impl Future<Output = F::Output> {
    tokio::task::unconstrained(test)
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

//! A retry inside a hedge: its attempts are as spare as the hedge is.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_core::{Attempt, BoxError};
use buttress_retry::RetryLayer;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::support::{MS, SECOND, fixed, never_processed, rejected};

/// Fails until the third call. Notes the ambient attempt of each call and of each poll of
/// readiness.
#[derive(Clone, Debug, Default)]
struct Notes {
    calls: Arc<Mutex<Vec<Attempt>>>,
    polls: Arc<Mutex<Vec<Attempt>>>,
}

impl Service<u32> for Notes {
    type Response = u32;
    type Error = BoxError;
    type Future = std::future::Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polls.lock().unwrap().push(Attempt::current());
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u32) -> Self::Future {
        let mut calls = self.calls.lock().unwrap();
        calls.push(Attempt::current());
        std::future::ready(match calls.len() {
            1 => Err(rejected(SECOND)),
            2 => Err("down".into()),
            _ => Ok(n),
        })
    }
}

/// Polls a call under an ambient attempt, as a hedge does.
async fn run<S>(service: S, attempt: Attempt) -> u32
where
    S: Service<u32, Response = u32, Error = BoxError>,
{
    let mut call = pin!(service.oneshot(7));
    poll_fn(|cx| attempt.with(|| call.as_mut().poll(cx))).await.unwrap()
}

/// C2
#[tokio::test(start_paused = true)]
async fn attempts_of_a_retry_are_spare_if_and_only_if_its_call_is() {
    let numbered =
        [Attempt::FIRST, Attempt::FIRST.transparent(), Attempt::FIRST.transparent().next()];
    for (ambient, expected) in [
        (Attempt::FIRST, numbered),
        (Attempt::FIRST.next(), numbered),
        (Attempt::FIRST.next().spare(), numbered.map(Attempt::spare)),
    ] {
        let notes = Notes::default();
        let stack = ServiceBuilder::new().layer(RetryLayer::new(3).backoff(fixed(MS)));
        assert_eq!(run(stack.service(notes.clone()), ambient).await, 7);
        assert_eq!(*notes.calls.lock().unwrap(), expected);
        // The caller polls the first readiness, and the retry that of each later attempt.
        let polls = notes.polls.lock().unwrap();
        assert_eq!(polls.len(), 3);
        assert!(polls.iter().all(|attempt| attempt.is_spare() == ambient.is_spare()), "{polls:?}");
        assert_eq!(Attempt::current(), Attempt::FIRST);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_of_nested_retries_are_spare_in_a_spare_call() {
    let notes = Notes::default();
    let retry = || RetryLayer::new(3).backoff(fixed(MS));
    let free = retry().classify(never_processed);
    let stack = ServiceBuilder::new().layer(retry()).layer(free).layer(retry());
    assert_eq!(run(stack.service(notes.clone()), Attempt::FIRST.spare()).await, 7);
    let calls = notes.calls.lock().unwrap();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|attempt| attempt.is_spare()), "{calls:?}");
}

//! A service that records its work, and helpers for the outcomes.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, Reason, Rejection};
use tokio::time::{Instant, Sleep};
use tower_service::Service;

/// A request: its key, its number and the milliseconds of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) key: u32,
    pub(crate) number: u32,
    pub(crate) millis: u64,
}

pub(crate) const fn job(key: u32, number: u32, millis: u64) -> Job {
    Job { key, number, millis }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a key")]
pub(crate) fn key_of(job: &Job) -> Option<u32> {
    Some(job.key)
}

/// What the service did, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Began(u32, u64),
    Answered(u32, u64),
    /// The work was dropped before its end.
    Dropped(u32, u64),
}

/// A service that works for the time of the job, fails odd millions, and records what it does.
#[derive(Clone)]
pub(crate) struct Worker {
    start: Instant,
    acts: Arc<Mutex<Vec<Act>>>,
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), acts: Arc::default() }
    }

    pub(crate) fn acts(&self) -> Vec<Act> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, act: impl FnOnce(u64) -> Act) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        self.acts.lock().unwrap_or_else(PoisonError::into_inner).push(act(millis));
    }
}

impl Service<Job> for Worker {
    type Response = u32;
    type Error = BoxError;
    type Future = Work;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Work {
        self.record(|at| Act::Began(job.number, at));
        let sleep = Box::pin(tokio::time::sleep(Duration::from_millis(job.millis)));
        Work { job, sleep, worker: self.clone(), ended: false }
    }
}

pub(crate) struct Work {
    job: Job,
    sleep: Pin<Box<Sleep>>,
    worker: Worker,
    ended: bool,
}

impl Future for Work {
    type Output = Result<u32, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.ended = true;
        let number = self.job.number;
        self.worker.record(|at| Act::Answered(number, at));
        Poll::Ready(if number >= FAILS { Err("failed".into()) } else { Ok(number) })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.ended {
            let number = self.job.number;
            self.worker.record(|at| Act::Dropped(number, at));
        }
    }
}

/// Jobs from this number on fail.
pub(crate) const FAILS: u32 = 1_000_000;

/// The rejection an error is.
pub(crate) fn rejection<T: std::fmt::Debug>(outcome: Result<T, BoxError>) -> Rejection {
    let error = outcome.unwrap_err();
    Rejection::find(&error).unwrap_or_else(|| panic!("not a rejection: {error}")).clone()
}

pub(crate) fn reason<T: std::fmt::Debug>(outcome: Result<T, BoxError>) -> Reason {
    rejection(outcome).reason()
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

use std::{
    future::Future,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
};

use buttress::layer_api::BoxError;
use tower::Service;

/// The work of the inner service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// About half a microsecond of arithmetic. Every 16th call yields to other tasks first.
    Spin,
    /// The same arithmetic at the first poll.
    SpinOnly,
    /// The same arithmetic at the second poll. The first poll wakes the task.
    PendThenSpin,
    /// No work: the response is there at the first poll.
    Nothing,
}

/// The inner service of the layers that two threads share.
#[derive(Clone, Debug)]
pub struct Worker {
    work: Work,
    calls: u32,
}

impl Worker {
    pub(crate) const fn new(work: Work) -> Self {
        Self { work, calls: 0 }
    }
}

impl Service<u64> for Worker {
    type Response = u64;
    type Error = BoxError;
    type Future = WorkerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> WorkerFuture {
        self.calls = self.calls.wrapping_add(1);
        let yields = match self.work {
            Work::Spin => self.calls.is_multiple_of(16),
            Work::PendThenSpin => true,
            Work::SpinOnly | Work::Nothing => false,
        };
        WorkerFuture { work: self.work, yields, value: request }
    }
}

/// The future of [`Worker`].
#[derive(Debug)]
pub struct WorkerFuture {
    work: Work,
    yields: bool,
    value: u64,
}

impl Future for WorkerFuture {
    type Output = Result<u64, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.yields {
            self.yields = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let steps = if self.work == Work::Nothing { 0 } else { SPIN };
        // Each step depends on the previous one, so a step takes four cycles on a current CPU.
        let step = |value: u64, step| value.wrapping_mul(ODD) ^ step;
        Poll::Ready(Ok(black_box((0..steps).fold(self.value, step))))
    }
}

/// Steps that take half a microsecond at 3 GHz.
const SPIN: u64 = 375;
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

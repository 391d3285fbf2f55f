use std::{
    future::Future,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
};

use buttress::layer_api::BoxError;
use tower::Service;

/// What the service inside does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// About half a microsecond of arithmetic; every sixteenth call lets other tasks run first.
    Spin,
    /// It answers at once.
    Nothing,
}

/// The service inside.
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
    type Future = Effort;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Effort {
        self.calls = self.calls.wrapping_add(1);
        let yields = self.work == Work::Spin && self.calls.is_multiple_of(16);
        Effort { work: self.work, yields, value: request }
    }
}

/// The future of [`Worker`].
#[derive(Debug)]
pub struct Effort {
    work: Work,
    yields: bool,
    value: u64,
}

impl Future for Effort {
    type Output = Result<u64, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.yields {
            self.yields = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let steps = if self.work == Work::Spin { SPIN } else { 0 };
        // Each step waits for the one before it: four cycles on the machines of today.
        let step = |value: u64, step| value.wrapping_mul(ODD) ^ step;
        Poll::Ready(Ok(black_box((0..steps).fold(self.value, step))))
    }
}

/// Half a microsecond at 3 GHz.
const SPIN: u64 = 375;
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

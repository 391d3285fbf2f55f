//! Fixtures of the tests of the layer.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use buttress_core::Verdict;
use buttress_testkit::{Probe, TestError};

/// A probe of numbers.
pub(crate) type Numbers = Probe<u32, u32, TestError>;

/// A service that fails every call with `error`.
pub(crate) fn failing(error: TestError) -> Numbers {
    Probe::new(move |_| Err(error))
}

/// A service that answers with ten times the number.
pub(crate) fn tenfold() -> Numbers {
    Probe::new(|number| Ok(10 * number))
}

/// The verdicts on [`TestError`].
pub(crate) fn judge(outcome: Result<&u32, &TestError>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Success,
        Err(TestError::Failed) => Verdict::Transient,
        Err(TestError::NotFound) => Verdict::Permanent,
        Err(TestError::Rejected(reason)) => Verdict::rejected("inner", *reason, None),
    }
}

/// Polls a future once.
pub(crate) async fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx))).await
}

/// A count that a test shares with the closures of a layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that counts its clones.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) number: u32,
    pub(crate) clones: Count,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.clones.add();
        Self { number: self.number, clones: self.clones.clone() }
    }
}

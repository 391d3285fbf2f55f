//! A handle whose numbers a test sets.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_core::{Measure, Metric, Reading};

pub(crate) static CALLS: Metric = Metric::counter("test.calls", "{call}", "Calls.");
pub(crate) static FAILED: Metric =
    Metric::counter("test.failed", "{call}", "Failed calls.").split_by("reason");
pub(crate) static OPEN: Metric = Metric::gauge("test.open", "{call}", "Open calls.");
pub(crate) static DELAY: Metric = Metric::gauge("test.delay", "s", "Delay.");

#[derive(Clone)]
pub(crate) struct TestHandle {
    name: &'static str,
    calls: u64,
    reads: Arc<AtomicU64>,
}

impl TestHandle {
    pub(crate) fn new(name: &'static str, calls: u64) -> Self {
        Self { name, calls, reads: Arc::default() }
    }

    /// How often the handle was read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl Measure for TestHandle {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&CALLS, &FAILED, &OPEN, &DELAY].into_iter().for_each(define);
    }

    #[expect(clippy::cast_precision_loss, reason = "the numbers of a test are small")]
    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        read(Reading::count(&CALLS, self.name, self.calls));
        read(Reading::count(&FAILED, self.name, 2 * self.calls).labelled("broken"));
        read(Reading::count(&FAILED, self.name, 3 * self.calls).labelled("late"));
        read(Reading::number(&OPEN, self.name, self.calls));
        read(Reading::gauge(&DELAY, self.name, self.calls as f64 / 8.0));
    }
}

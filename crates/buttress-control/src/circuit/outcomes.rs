use crate::Nanos;
use crate::window::Amounts;

use super::rules::Counts;

/// The outcomes in the window of a circuit, and the run of failures that ends now.
#[derive(Debug)]
pub(super) struct Outcomes {
    slot: u64,
    latest: u64,
    calls: Amounts,
    failures: Amounts,
    slow: Amounts,
    run: u32,
}

impl Outcomes {
    pub(super) const fn new(slot: u64) -> Self {
        Self {
            slot,
            latest: 0,
            calls: Amounts::new(),
            failures: Amounts::new(),
            slow: Amounts::new(),
            run: 0,
        }
    }

    /// Records successes that had no date yet: they came after the last that had one. If that was more
    /// than a slot ago, they are dated one slot after it, because an outcome that may be old must not
    /// outlive the window.
    pub(super) fn add_undated(&mut self, now: Nanos, successes: u64) {
        if successes == 0 {
            return;
        }
        let now = now.get() / self.slot;
        self.advance(now.min(self.latest + 1));
        self.calls.add(successes);
        self.run = 0;
        self.advance(now);
    }

    pub(super) fn add(&mut self, now: Nanos, outcome: Recorded) {
        self.advance(now.get() / self.slot);
        self.calls.add(1);
        self.slow.add(outcome.is_slow.into());
        match outcome.kind {
            RecordedKind::Success => self.run = 0,
            RecordedKind::Failure => {
                self.failures.add(1);
                self.run = self.run.saturating_add(1);
            }
            RecordedKind::Shed => self.failures.add(1),
        }
    }

    /// The numbers of the window that ends now.
    pub(super) fn counts(&mut self, now: Nanos) -> Counts {
        self.advance(now.get() / self.slot);
        let [calls, failures, slow] = [&self.calls, &self.failures, &self.slow].map(Amounts::total);
        Counts { calls, failures, slow }
    }

    pub(super) const fn run(&self) -> u32 {
        self.run
    }

    /// The calls in the latest slot.
    pub(super) fn calls_in_slot(&self) -> u64 {
        self.calls.latest()
    }

    /// Whether more than a slot has passed since the last record.
    pub(super) fn is_sparse(&self, now: Nanos) -> bool {
        (now.get() / self.slot).saturating_sub(self.latest) > 1
    }

    fn advance(&mut self, tick: u64) {
        if tick <= self.latest {
            return;
        }
        self.latest = tick;
        for amounts in [&mut self.calls, &mut self.failures, &mut self.slow] {
            amounts.advance(tick);
        }
    }
}

/// An outcome as the window keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub(super) kind: RecordedKind,
    pub(super) is_slow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordedKind {
    Success,
    Failure,
    /// A failure in the ratio that neither lengthens nor ends a run.
    Shed,
}

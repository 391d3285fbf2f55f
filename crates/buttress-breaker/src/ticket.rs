use std::{mem, time::Duration};

use buttress_control::{CircuitOpen, CircuitOutcome, CircuitPass, Nanos};
use buttress_core::{Attempt, Deadline, Verdict};

use crate::{
    circuits::{HeldCircuit, Host},
    outcome,
};

/// The duty of an admitted call to tell its circuit how it ended: by [`settle`](Self::settle), or
/// by its drop.
#[derive(Debug)]
pub(crate) struct Ticket<H: HeldCircuit> {
    held: H,
    /// `None` once the circuit was told.
    pass: Option<CircuitPass>,
    /// The deadline that was ambient at `call`.
    deadline: Option<Deadline>,
    started: Started,
}

impl<H: HeldCircuit> Ticket<H> {
    /// Asks a circuit that is not closed for a call. `Ok(None)` if the call is made without a record.
    #[cold]
    pub(crate) fn ask(held: H) -> Result<Option<Self>, (H, CircuitOpen)> {
        let is_spare = Attempt::current().is_spare();
        let open = match held.circuit().law.admit(is_spare, &Host::new(&held, None)) {
            Ok(pass) => return Ok(pass.map(|pass| Self::new(held, pass))),
            Err(open) => open,
        };
        let (counters, settings) = (held.circuit().counters(), held.settings());
        let is_rejected = if is_spare {
            counters.note_spare_refused();
            settings.report_spare_refused(open)
        } else {
            counters.note_rejected();
            settings.report_rejected(open)
        };
        if is_rejected { Err((held, open)) } else { Ok(None) }
    }

    /// The ticket of a call that the circuit has admitted.
    #[inline]
    pub(crate) fn new(held: H, pass: CircuitPass) -> Self {
        let is_timed =
            held.settings().patience.is_some() || held.circuit().law.slow_limit().is_some();
        let started = if is_timed { Started::at(held.circuit().now()) } else { Started::UNKNOWN };
        Self { held, pass: Some(pass), deadline: Deadline::current(), started }
    }

    /// Runs code of the service. If the code panics, the call has failed.
    #[inline]
    pub(crate) fn watch<R>(ticket: Option<&mut Self>, f: impl FnOnce() -> R) -> R {
        let failure = TellOnPanic(ticket, CircuitOutcome::Failure);
        let result = f();
        mem::forget(failure);
        result
    }

    /// Runs a classification. If the classification panics, the call says nothing.
    // Otherwise the drop of the ticket would judge the call by its patience or its deadline.
    #[inline]
    pub(crate) fn judge<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let neutral = TellOnPanic(Some(self), CircuitOutcome::Neutral);
        let result = f();
        mem::forget(neutral);
        result
    }

    /// Tells the circuit how the call ended. `is_callers_own` is asked about a permanent failure
    /// only.
    #[inline]
    pub(crate) fn settle(&mut self, verdict: Verdict, is_callers_own: impl FnOnce() -> bool) {
        if !matches!(verdict, Verdict::Success) {
            return self.settle_judged(verdict, is_callers_own);
        }
        let is_slow = self.is_slow();
        if let Some(pass) = self.pass.take()
            && (is_slow || !self.held.circuit().law.settle_success(pass))
        {
            self.settle_dated(pass, is_slow);
        }
    }

    /// Tells the circuit of a success for which it needs a clock.
    #[cold]
    fn settle_dated(&self, pass: CircuitPass, is_slow: bool) {
        let host = Host::new(&self.held, Some(Verdict::Success));
        self.held.circuit().law.settle(pass, CircuitOutcome::Success, is_slow, &host);
    }

    #[cold]
    fn settle_judged(&mut self, verdict: Verdict, is_callers_own: impl FnOnce() -> bool) {
        // A failure on this side shows nothing of the service, so it must not close a circuit.
        let is_own = matches!(verdict, Verdict::Permanent) && self.judge(is_callers_own);
        let outcome = outcome::of_verdict(&verdict);
        let outcome = if is_own { Some(CircuitOutcome::Neutral) } else { outcome };
        self.tell(outcome.unwrap_or_else(|| self.time_ran_out()), Some(verdict));
    }

    /// The call ended without an outcome.
    #[cold]
    fn abandon(&mut self) {
        let has_deadline_passed = || self.deadline.is_some_and(Deadline::has_passed);
        let outcome = if self.held.settings().patience.is_some() || has_deadline_passed() {
            self.time_ran_out()
        } else {
            CircuitOutcome::Neutral
        };
        self.tell(outcome, None);
    }

    /// The outcome of a call that had no answer in time.
    fn time_ran_out(&self) -> CircuitOutcome {
        match (self.held.settings().patience, self.started.get()) {
            (Some(patience), Some(start)) if self.elapsed_since(start) < patience => {
                CircuitOutcome::Neutral
            }
            _ => CircuitOutcome::Failure,
        }
    }

    fn elapsed_since(&self, start: Nanos) -> Duration {
        Duration::from_nanos(self.held.circuit().now().get().saturating_sub(start.get()))
    }

    #[inline]
    fn is_slow(&self) -> bool {
        let circuit = self.held.circuit();
        self.started.get().is_some_and(|start| circuit.law.is_slow(start, circuit.now()))
    }

    fn tell(&mut self, outcome: CircuitOutcome, verdict: Option<Verdict>) {
        let is_slow = self.is_slow();
        let Some(pass) = self.pass.take() else { return };
        let host = Host::new(&self.held, verdict);
        self.held.circuit().law.settle(pass, outcome, is_slow, &host);
    }
}

impl<H: HeldCircuit> Drop for Ticket<H> {
    #[inline]
    fn drop(&mut self) {
        if self.pass.is_some() {
            self.abandon();
        }
    }
}

/// Settles a ticket with an outcome when it is dropped, which happens only while unwinding.
struct TellOnPanic<'a, H: HeldCircuit>(Option<&'a mut Ticket<H>>, CircuitOutcome);

impl<H: HeldCircuit> Drop for TellOnPanic<'_, H> {
    #[cold]
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.tell(self.1, None);
        }
    }
}

/// The time at which a call began, if a rule needs the time.
// Not an `Option`: its tag would make the future of each call 8 bytes larger.
#[derive(Clone, Copy, Debug)]
struct Started(u64);

impl Started {
    const UNKNOWN: Self = Self(u64::MAX);

    fn at(now: Nanos) -> Self {
        // 584 years after the circuit was made, a call is not timed.
        Self(now.get())
    }

    #[inline]
    const fn get(self) -> Option<Nanos> {
        if self.0 == u64::MAX { None } else { Some(Nanos::new(self.0)) }
    }
}

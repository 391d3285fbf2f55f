use std::{mem, time::Duration};

use buttress_control::{CircuitOutcome, CircuitPass, Nanos};
use buttress_core::{Attempt, Deadline, Rejection, Verdict};

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
    /// The ticket of a call that a closed circuit admits, or the circuit back, which is not closed.
    #[inline]
    pub(crate) fn of_closed(held: H) -> Result<Self, H> {
        match held.circuit().law.admit_if_closed() {
            Some(pass) => Ok(Self::new(held, pass)),
            None => Err(held),
        }
    }

    /// Asks a circuit that is not closed for a call. `None` if the call is made without a record.
    #[cold]
    pub(crate) fn ask(held: H) -> Result<Option<Self>, Rejection> {
        let is_spare = Attempt::current().is_spare();
        match held.circuit().law.admit(is_spare, &Host::new(&held, None)) {
            Ok(Some(pass)) => Ok(Some(Self::new(held, pass))),
            Ok(None) => Ok(None),
            Err(open) => {
                let (circuit, settings) = (held.circuit(), held.settings());
                let rejection = if is_spare {
                    circuit.counters().note_spare_refused();
                    settings.refuse_spare(open)
                } else {
                    circuit.counters().note_rejected();
                    settings.reject(open)
                };
                rejection.map_or(Ok(None), Err)
            }
        }
    }

    #[inline]
    fn new(held: H, pass: CircuitPass) -> Self {
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
        if matches!(verdict, Verdict::Success) && !self.started.is_known() {
            if let Some(pass) = self.pass.take() {
                let host = Host::new(&self.held, Some(Verdict::Success));
                self.held.circuit().law.settle(pass, CircuitOutcome::Success, false, &host);
            }
            return;
        }
        self.settle_judged(verdict, is_callers_own);
    }

    #[cold]
    fn settle_judged(&mut self, verdict: Verdict, is_callers_own: impl FnOnce() -> bool) {
        // A failure on this side shows nothing of the service, so it must not close a circuit.
        let is_own = matches!(verdict, Verdict::Permanent) && self.judge(is_callers_own);
        let outcome = outcome::of_verdict(&verdict);
        let outcome = if is_own { Some(CircuitOutcome::Neutral) } else { outcome };
        let elapsed = self.elapsed();
        self.tell(outcome.unwrap_or_else(|| self.time_ran_out(elapsed)), elapsed, Some(verdict));
    }

    /// The call ended without an outcome.
    #[cold]
    fn abandon(&mut self) {
        let elapsed = self.elapsed();
        let has_deadline_passed = || self.deadline.is_some_and(Deadline::has_passed);
        let outcome = if self.held.settings().patience.is_some() || has_deadline_passed() {
            self.time_ran_out(elapsed)
        } else {
            CircuitOutcome::Neutral
        };
        self.tell(outcome, elapsed, None);
    }

    /// The outcome of a call that had no answer in time.
    fn time_ran_out(&self, elapsed: Option<Duration>) -> CircuitOutcome {
        match (self.held.settings().patience, elapsed) {
            (Some(patience), Some(elapsed)) if elapsed < patience => CircuitOutcome::Neutral,
            _ => CircuitOutcome::Failure,
        }
    }

    fn elapsed(&self) -> Option<Duration> {
        self.started.is_known().then(|| self.started.elapsed(self.held.circuit().now()))
    }

    fn tell(
        &mut self,
        outcome: CircuitOutcome,
        elapsed: Option<Duration>,
        verdict: Option<Verdict>,
    ) {
        let Some(pass) = self.pass.take() else { return };
        let law = &self.held.circuit().law;
        let is_slow = law.slow_limit().zip(elapsed).is_some_and(|(limit, time)| time > limit);
        law.settle(pass, outcome, is_slow, &Host::new(&self.held, verdict));
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
            let elapsed = ticket.elapsed();
            ticket.tell(self.1, elapsed, None);
        }
    }
}

/// The time at which a call began, if a rule needs the time.
// Not an `Option`, whose tag would make the future of each call 8 bytes larger.
#[derive(Clone, Copy, Debug)]
struct Started(u64);

impl Started {
    const UNKNOWN: Self = Self(u64::MAX);

    fn at(now: Nanos) -> Self {
        // 584 years after the circuit was made, a call is not timed.
        Self(now.get())
    }

    #[inline]
    const fn is_known(self) -> bool {
        self.0 != u64::MAX
    }

    const fn elapsed(self, now: Nanos) -> Duration {
        Duration::from_nanos(now.get().saturating_sub(self.0))
    }
}

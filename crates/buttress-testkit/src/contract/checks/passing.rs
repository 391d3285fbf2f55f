//! Checks of a call that passes through.

use std::sync::Arc;

use buttress_core::{Attempt, Deadline};

use crate::{
    Clause, Dialect, Heard, Subject,
    contract::{
        caller::CallEnd,
        trial::{CheckResult, Trial},
    },
};

impl<D, S> Trial<D, S>
where
    D: Dialect,
    S: Subject<D>,
{
    /// Calls succeed.
    pub(crate) async fn answers(self) -> CheckResult {
        let mut caller = self.caller();
        for number in 1..=3 {
            caller.ask(self.request(number));
            let heard = self.finish(&mut caller, "a call that the service answers").await?;
            self.require_instance()?;
            self.require(Clause::Response, heard == Heard::Answer(number), || {
                format!("the answer to request {number} came out as {heard:?}")
            })?;
            let calls = self.probe.calls();
            self.require(Clause::Once, calls == number as usize, || {
                format!("after {number} calls, the service has been called {calls} times")
            })?;
            self.require_rest("after a call that was answered")?;
        }
        Ok(())
    }

    /// The service fails calls.
    pub(crate) async fn failures(self) -> CheckResult {
        self.failing();
        let mut caller = self.caller();
        for number in 1..=3 {
            caller.ask(self.request(number));
            let heard = self.finish(&mut caller, "a call that the service fails").await?;
            self.require_instance()?;
            self.require(Clause::Error, heard == Heard::Failure(number), || {
                format!("the failure of request {number} came out as {heard:?}")
            })?;
            self.require_rest("after a call that failed")?;
        }
        Ok(())
    }

    /// The service is broken: its `poll_ready` fails.
    pub(crate) async fn breakdown(self) -> CheckResult {
        const BROKEN: u32 = 1;
        if D::fail(self.request(BROKEN)).is_ok() {
            // The protocol has no errors.
            return Ok(());
        }
        let dialect = Arc::clone(&self.dialect);
        self.probe.break_down(move || match D::fail(dialect.request(BROKEN)) {
            Err(error) => error,
            Ok(_) => unreachable!("it was an error before"),
        });
        let mut caller = self.caller();
        caller.ask(self.request(BROKEN));
        let heard = match caller.finish(Self::LONG).await {
            Ok(Some(CallEnd::Unready(error))) => S::understand(&self.dialect, Err(error)),
            Ok(Some(CallEnd::Ended(outcome))) => S::understand(&self.dialect, outcome),
            Ok(None) => Heard::Other("no end".to_owned()),
            Err(spinning) => return self.require_quiet(spinning, "a call to a broken service"),
        };
        self.require(Clause::Error, heard == Heard::Failure(BROKEN), || {
            format!("the error of the service's poll_ready came out as {heard:?}")
        })
    }

    /// A call runs under a deadline, as an attempt of an outer retry.
    pub(crate) async fn surroundings(self) -> CheckResult {
        self.pausing(2);
        let attempt = Attempt::FIRST.next().next();
        let deadline = Deadline::after(Self::LONG);
        let mut caller = self.caller();
        caller.ask(self.request(1));
        for _ in 0..16 {
            let (end, left) = Deadline::with(Some(deadline), || {
                attempt.with(|| (caller.poll(), (Deadline::current(), Attempt::current())))
            });
            self.require(Clause::Ambient, left == (Some(deadline), attempt), || {
                format!("after a poll, the caller is left with {left:?}")
            })?;
            if end.is_ready() {
                break;
            }
            crate::contract::trial::settle().await;
        }
        for (seen, _) in self.probe.ambient() {
            let kept = seen.is_some_and(|seen| seen <= deadline);
            self.require(Clause::Ambient, kept, || {
                format!("the caller's deadline is {deadline:?}, the service ran under {seen:?}")
            })?;
        }
        Ok(())
    }
}

//! Checks of calls that a layer may reject.

use std::{task::Poll, time::Duration};

use buttress_core::Deadline;
use tokio::time::sleep;

use crate::{
    Clause, Dialect, Heard, Subject,
    contract::trial::{CheckResult, Trial},
};

impl<D, S> Trial<D, S>
where
    D: Dialect,
    S: Subject<D>,
{
    /// A call starts after its deadline.
    pub(crate) async fn expired(self) -> CheckResult {
        self.permits(1);
        let passed = Deadline::after(Duration::ZERO);
        sleep(Duration::from_secs(1)).await;
        let mut caller = self.caller();
        caller.under(Some(passed));
        caller.ask(self.request(1));
        let heard = self.finish(&mut caller, "a call whose deadline has passed").await?;
        self.require_instance()?;
        self.require_rest(&format!("after a call whose deadline had passed ended with {heard:?}"))?;
        caller.under(None);
        caller.ask(self.request(2));
        let heard = self.finish(&mut caller, "the call after an expired one").await?;
        self.require(Clause::Response, heard == Heard::Answer(2), || {
            format!("the call after an expired one ended with {heard:?}")
        })
    }

    /// Many calls in a row on the same handle, which the service answers or fails.
    pub(crate) async fn series(self, failing: bool) -> CheckResult {
        self.permits(1);
        if failing {
            self.failing();
        }
        let mut caller = self.caller();
        for number in 1..=MANY {
            caller.ask(self.request(number));
            let heard = self.finish(&mut caller, "one of many calls in a row").await?;
            self.require_instance()?;
            self.require_rest(&format!("after call {number} in a row ended with {heard:?}"))?;
        }
        Ok(())
    }

    /// Many calls at once. The service answers none before all are there.
    pub(crate) async fn crowd(self) -> CheckResult {
        self.probe.hold();
        let mut callers: Vec<_> = (1..=MANY).map(|_| self.caller()).collect();
        let mut pending = Vec::new();
        let mut rejected = 0;
        for (number, mut caller) in (1..).zip(callers.drain(..)) {
            caller.ask(self.request(number));
            match caller.drive() {
                Ok(Poll::Pending) => pending.push((caller, true)),
                Ok(Poll::Ready(end)) => {
                    self.hear(end)?;
                    rejected += 1;
                    pending.push((caller, false));
                }
                Err(spinning) => return self.require_quiet(spinning, "one of many calls"),
            }
        }
        self.require_instance()?;
        let held = self.probe.reserved() + self.probe.live();
        let open = pending.iter().filter(|(_, open)| *open).count();
        self.require(Clause::Reservation, held <= open, || {
            format!(
                "{rejected} of {MANY} calls ended at once, {open} are pending, and {held} permits \
                 are taken"
            )
        })?;
        self.probe.release();
        for (caller, open) in &mut pending {
            if *open {
                self.finish(caller, "one of many calls").await?;
            }
        }
        self.require_rest("after many calls at once")
    }
}

const MANY: u32 = 48;

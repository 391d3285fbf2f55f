//! Checks of calls that are dropped.

use std::task::Poll;

use crate::{
    Clause, Dialect, Subject,
    contract::trial::{CheckResult, Trial, settle},
};

impl<D, S> Trial<D, S>
where
    D: Dialect,
    S: Subject<D>,
{
    /// A call is dropped after each of its polls in turn, until it ends.
    pub(crate) async fn drops(self) -> CheckResult {
        self.permits(1);
        self.pausing(3);
        self.unused_handle().await?;
        let mut caller = self.caller();
        for polls in 0..LONGEST {
            caller.ask(self.request(polls + 1));
            self.require(
                Clause::Waking,
                matches!(caller.poll_ready(), Poll::Ready(Ok(()))),
                || "the service is idle, and poll_ready is not ready".to_owned(),
            )?;
            caller.call();
            let over = (0..polls).any(|_| caller.poll().is_ready());
            caller.abandon();
            self.require_instance()?;
            self.require_gone(polls)?;
            let before = self.probe.calls();
            settle().await;
            self.require(Clause::Cancellation, self.probe.calls() == before, || {
                format!("the response was dropped after {polls} polls, and the service was called")
            })?;
            self.require_gone(polls)?;
            if over {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn unused_handle(&self) -> CheckResult {
        let mut caller = self.caller();
        caller.ask(self.request(0));
        self.require(Clause::Waking, matches!(caller.poll_ready(), Poll::Ready(Ok(()))), || {
            "the service is idle, and poll_ready is not ready".to_owned()
        })?;
        drop(caller);
        settle().await;
        self.require(Clause::Reservation, self.serves_strangers(), || {
            "a handle was ready and dropped unused, and a stranger does not get its permit"
                .to_owned()
        })
    }

    fn require_gone(&self, polls: u32) -> CheckResult {
        let live = self.probe.live();
        self.require(Clause::Cancellation, live == 0, || {
            format!("the response was dropped after {polls} polls, and the call lives on")
        })?;
        self.require(Clause::Reservation, self.serves_strangers(), || {
            format!(
                "the response was dropped after {polls} polls, and a stranger does not get the \
                 permit"
            )
        })
    }
}

const LONGEST: u32 = 64;

//! Checks of wakers.

use std::{task::Poll, time::Duration};

use tokio::time::Instant;

use crate::{
    Clause, Dialect, Heard, Subject,
    contract::trial::{CheckResult, Trial, settle},
};

impl<D, S> Trial<D, S>
where
    D: Dialect,
    S: Subject<D>,
{
    /// A call is polled with a waker, then with another, and answered.
    pub(crate) async fn wakes(self) -> CheckResult {
        let start = Instant::now();
        self.probe.hold();
        let mut caller = self.caller();
        caller.ask(self.request(1));
        if let Err(spinning) = caller.drive() {
            return self.require_quiet(spinning, "a call that the service does not answer yet");
        }
        caller.change_waker();
        if let Err(spinning) = caller.drive() {
            return self.require_quiet(spinning, "a call that the service does not answer yet");
        }
        self.probe.release();
        settle().await;
        self.require(Clause::Waking, caller.woken(), || {
            "the service answered, and the waker of the last poll was not woken".to_owned()
        })?;
        let heard = self.finish(&mut caller, "a call that was answered").await?;
        let late = start.elapsed();
        self.require(Clause::Waking, late.is_zero(), || {
            format!("a call that was answered at once ended {late:?} later, with {heard:?}")
        })?;
        self.require(Clause::Response, heard == Heard::Answer(1), || {
            format!("an answer that was waited for came out as {heard:?}")
        })
    }

    /// A call is not answered for ten seconds.
    pub(crate) async fn quiet(self) -> CheckResult {
        self.probe.hold();
        let mut caller = self.caller();
        caller.ask(self.request(1));
        match caller.finish(Duration::from_secs(10)).await {
            Ok(Some(end)) => drop(self.hear(end)?),
            Ok(None) => {}
            Err(spinning) => {
                return self.require_quiet(spinning, "a call that the service does not answer");
            }
        }
        let polls = self.probe.polls();
        self.require(Clause::Quiet, polls <= ENOUGH, || {
            format!("the service did not answer for ten seconds, and was polled {polls} times")
        })
    }

    /// Calls wait for each other: for the service, if it has only this many `permits`, or for a
    /// limit of the layer's own. A caller leaves when it is woken.
    pub(crate) async fn waiters(self, permits: Option<usize>) -> CheckResult {
        let start = Instant::now();
        if let Some(permits) = permits {
            self.permits(permits);
        }
        self.probe.hold();
        let mut waiters = Vec::new();
        for number in 1..=6 {
            let mut caller = self.caller();
            caller.ask(self.request(number));
            match caller.drive() {
                Ok(Poll::Pending) => waiters.push((number, caller)),
                Ok(Poll::Ready(end)) => drop(self.hear(end)?),
                Err(spinning) => return self.require_quiet(spinning, "one of six calls"),
            }
        }
        self.probe.release();
        let mut left = false;
        loop {
            settle().await;
            let Some(next) = waiters.iter().position(|(_, waiter)| waiter.woken()) else { break };
            let (number, mut waiter) = waiters.remove(next);
            if !left && number > 1 {
                left = true;
                continue;
            }
            match waiter.drive() {
                Ok(Poll::Pending) => waiters.push((number, waiter)),
                Ok(Poll::Ready(end)) => drop(self.hear(end)?),
                Err(spinning) => return self.require_quiet(spinning, "one of six calls"),
            }
        }
        self.require_instance()?;
        let asleep = waiters.len();
        self.require(Clause::Waking, asleep == 0 && start.elapsed().is_zero(), || {
            format!("six calls waited for each other, one left, and {asleep} were never woken")
        })
    }
}

const ENOUGH: usize = 100;

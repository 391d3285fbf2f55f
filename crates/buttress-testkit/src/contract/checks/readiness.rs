//! Checks of a service that is not ready.

use std::{task::Poll, time::Duration};

use buttress_core::Deadline;
use tokio::time::sleep;

use crate::{
    Clause, Dialect, Heard, Subject,
    contract::{
        caller::Caller,
        trial::{CheckResult, Trial, settle},
    },
};

impl<D, S> Trial<D, S>
where
    D: Dialect,
    S: Subject<D>,
{
    /// The service is full for a moment.
    pub(crate) async fn backpressure(self) -> CheckResult {
        self.permits(1);
        let holder = self.probe.reserve();
        let mut caller = self.caller();
        caller.ask(self.request(1));
        match caller.drive() {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(end)) => {
                let heard = self.hear(end)?;
                return self.require(Clause::Backpressure, false, || {
                    format!("while the service was not ready, a call ended at once: {heard:?}")
                });
            }
            Err(spinning) => {
                return self.require_quiet(spinning, "a call that waits for the service");
            }
        }
        self.require(Clause::Backpressure, !caller.called(), || {
            "while the service was not ready, poll_ready said it was".to_owned()
        })?;
        let before = self.probe.ready_polls();
        settle().await;
        if let Err(spinning) = caller.drive() {
            return self.require_quiet(spinning, "a call that waits for the service");
        }
        let polls = self.probe.ready_polls() - before;
        self.require(Clause::Quiet, polls <= 1, || {
            format!("nothing happened, and the service was asked {polls} times if it is ready")
        })?;

        drop(holder);
        settle().await;
        self.require(Clause::Waking, caller.woken(), || {
            "the service is ready again, and who waited for it was not woken".to_owned()
        })?;
        let heard = self.finish(&mut caller, "a call that waited for the service").await?;
        self.require_instance()?;
        self.require(Clause::Response, heard == Heard::Answer(1), || {
            format!("the answer to a call that waited came out as {heard:?}")
        })
    }

    /// A handle is ready, and a clone of it is called.
    pub(crate) async fn clones(self) -> CheckResult {
        let mut original = self.caller();
        original.ask(self.request(1));
        let ready = matches!(original.poll_ready(), Poll::Ready(Ok(())));
        self.require(Clause::Waking, ready, || {
            "the service is idle, and poll_ready is not ready".to_owned()
        })?;
        let mut fork = original.fork();
        fork.ask(self.request(2));
        self.finish(&mut fork, "a call on a clone of a handle that is ready").await?;
        self.require_instance()?;
        original.call();
        self.finish(&mut original, "a call on a handle that was cloned when ready").await?;
        self.require_instance()
    }

    /// The service is full until the layer stops waiting, if it ever does. The handle then stays
    /// idle, or is `used` for a call.
    pub(crate) async fn lateness(self, timeout: Option<Duration>, used: bool) -> CheckResult {
        self.permits(1);
        let holder = self.probe.reserve();
        let mut caller = self.caller();
        caller.under(timeout.map(Deadline::after));
        caller.ask(self.request(1));
        let Some(late) = self.wait(&mut caller).await? else {
            drop(caller);
            drop(holder);
            return self.require(Clause::Reservation, self.serves_strangers(), || {
                "a handle was dropped while it waited, and a stranger does not get the permit \
                 that came free"
                    .to_owned()
            });
        };
        if late.is_zero() {
            // A layer that hides the backpressure is the business of another check.
            return Ok(());
        }
        let mut what = format!("poll_ready was ready {late:?} late and the handle is idle");
        if used {
            caller.call();
            let heard = self.finish(&mut caller, "a call on a handle that was ready late").await?;
            what = format!("a call that was ready {late:?} late ended with {heard:?}");
        }
        drop(holder);
        self.require_instance()?;
        self.require(Clause::Reservation, self.serves_strangers(), || {
            format!("{what}, and a stranger does not get the permit that came free")
        })?;
        if !used {
            return Ok(());
        }
        caller.under(None);
        caller.ask(self.request(2));
        let heard = self.finish(&mut caller, "the call after a late one").await?;
        self.require_instance()?;
        self.require(Clause::Response, heard == Heard::Answer(2), || {
            format!("{what}, and the next call on the same handle with {heard:?}")
        })
    }

    /// The time until `poll_ready` was ready, within a day.
    async fn wait(
        &self,
        caller: &mut Caller<S, D::Request>,
    ) -> Result<Option<Duration>, crate::contract::trial::Breach> {
        let mut waited = Duration::ZERO;
        for seconds in [0, 1, 60, 60 * 60, 24 * 60 * 60] {
            let pause = Duration::from_secs(seconds);
            sleep(pause).await;
            waited += pause;
            while caller.woken() {
                match caller.poll_ready() {
                    Poll::Ready(Ok(())) => return Ok(Some(waited)),
                    Poll::Ready(Err(error)) => {
                        let heard = S::understand(&self.dialect, Err(error));
                        self.require(Clause::Rejection, false, || {
                            format!("poll_ready failed after {waited:?} of waiting: {heard:?}")
                        })?;
                        return Ok(None);
                    }
                    Poll::Pending => settle().await,
                }
            }
        }
        Ok(None)
    }
}

use std::{
    any::Any,
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use buttress_core::{Driver, MemberId};
use buttress_state::sync::atomic::Ordering;

use super::{Flight, SharedResult, WorkSlot};

/// The result of a flight's work.
pub(crate) enum WorkResult<A, O> {
    /// A result for all members.
    Answer(A),
    /// An outcome for the driver, if no other member waits.
    Own(O),
}

/// How a member's wait ended.
pub(crate) enum WaitEnd<O> {
    /// There is a result, or there never will be a result.
    Answered,
    /// The member is alone, and this is the outcome.
    Own(O),
    /// The member drove the work, which panicked with this payload.
    Panicked(Box<dyn Any + Send>),
}

impl<K, W, A> Flight<K, W, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    W: Send + 'static,
    A: SharedResult + Send + Sync + 'static,
{
    /// Ready when there is a result, or none will come. If the work was woken, this member drives it:
    /// `poll_work` polls the work, `make_result` makes a result of an outcome that other members wait for too,
    /// and `panicked` makes a result of a panic.
    #[inline]
    pub(crate) fn poll<O>(
        self: &Arc<Self>,
        member: MemberId,
        cx: &mut Context<'_>,
        poll_work: impl FnOnce(Pin<&mut W>, &mut Context<'_>) -> Poll<WorkResult<A, O>>,
        make_result: impl FnOnce(O) -> A,
        panicked: impl FnOnce(Option<Pin<&mut W>>) -> A,
    ) -> Poll<WaitEnd<O>> {
        // Dropped at the end of this function, so after `publish`: `Driver::drop` ends the relay and wakes
        // the members, which then look for the result.
        let Some(mut driver) = ready!(self.relay.poll_drive(member, 0, cx)) else {
            return Poll::Ready(WaitEnd::Answered);
        };
        let ambient = driver.ambient();
        // The service may keep this waker after the end of the flight. Then `Flight::begin` finds a second
        // reference and does not reuse the allocation, so a late wake reaches no other flight.
        let waker = Waker::from(Arc::clone(self));
        let mut has_ended = false;
        let step = || {
            let Some(work) = driver.work().and_then(|slot| slot.as_mut().as_pin_mut()) else {
                return Step::Answered;
            };
            let poll_work = || poll_work(work, &mut Context::from_waker(&waker));
            let Poll::Ready(end) = self.run(ambient, poll_work) else { return Step::Pending };
            has_ended = true;
            let result = match end {
                WorkResult::Answer(result) => result,
                WorkResult::Own(outcome) if self.end_alone(&mut driver) => {
                    return Step::Own(outcome);
                }
                WorkResult::Own(outcome) => make_result(outcome),
            };
            if A::IS_COMPLETE {
                self.publish(result);
            } else {
                self.publish_announced(result);
            }
            Step::Answered
        };
        // Code of the user may panic: the service, the drop of a key, and what makes and announces a result.
        // Without a result, the flight would stay in the table until its last member calls `leave`, and would
        // reject each call that joins. Other members may also wait for a flight that `end_alone` has removed.
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Step::Pending) => {
                driver.park(cx);
                Poll::Pending
            }
            Ok(Step::Answered) => Poll::Ready(WaitEnd::Answered),
            Ok(Step::Own(outcome)) => Poll::Ready(WaitEnd::Own(outcome)),
            Err(payload) => {
                let work = if has_ended { None } else { driver.work() };
                let work = work.and_then(|slot| slot.as_mut().as_pin_mut());
                self.publish(panicked(work));
                Poll::Ready(WaitEnd::Panicked(payload))
            }
        }
    }

    /// Ends the flight if the driver is its only member. Returns whether the flight has ended.
    #[inline]
    fn end_alone(&self, driver: &mut Driver<'_, WorkSlot<W>>) -> bool {
        // The call is dropped before the flight ends, so that the slot is empty for the next flight.
        if let Some(slot) = driver.work() {
            slot.set(None);
        }
        // `finish_alone` removes the flight, so `remove_from_table` has nothing left to do. Relaxed, as
        // there. After it, `make_result` runs code of the user: `Clone`, or the error function.
        self.in_table.store(false, Ordering::Relaxed);
        self.table.finish_alone(self.start.hash, self, driver)
    }

    /// Publishes a response that may be in progress, once all members are announced to it.
    ///
    /// `FlightShard::join` adds a member under the lock of the shard. So no member joins between the last count
    /// and `set`, and a later member finds the result and announces itself.
    fn publish_announced(&self, result: A) {
        let mut announced = 0;
        loop {
            let shard = self.table.lock_shard(self.start.hash);
            let members = self.members();
            if members <= announced {
                let is_set = self.result.set(result).is_ok();
                drop(shard);
                if is_set {
                    self.update_table(false);
                }
                return;
            }
            // Released for `expect_callers`, which may call this layer. Each round has a new member.
            drop(shard);
            result.expect_callers(members - announced);
            announced = members;
        }
    }

    fn publish(&self, result: A) {
        // No other result is set: one member at a time drives the work, and the work ends once. `OnceLock`
        // releases the result to `Flight::result`, which members call without a lock.
        if self.result.set(result).is_ok() {
            self.update_table(false);
        }
    }
}

/// How a poll of the work ended for the driver.
enum Step<O> {
    Pending,
    /// There is a result.
    Answered,
    /// The driver is alone, and this is the outcome.
    Own(O),
}

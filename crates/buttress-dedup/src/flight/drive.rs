use std::{
    any::Any,
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use buttress_core::MemberId;

use super::{Flight, SharedResult};
use crate::sync::atomic::Ordering;

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
        let Some(work) = driver.work().and_then(|slot| slot.as_mut().as_pin_mut()) else {
            return Poll::Ready(WaitEnd::Answered);
        };
        // The service may keep this waker after the end of the flight. Then `Flight::begin` finds a second
        // reference and does not reuse the allocation, so a late wake reaches no other flight.
        let waker = Waker::from(Arc::clone(self));
        let step = || poll_work(work, &mut Context::from_waker(&waker));
        // The service may panic. Without a result, the flight would stay in the table until its last member
        // calls `leave`, and would reject each call that joins.
        match catch_unwind(AssertUnwindSafe(|| self.run(ambient, step))) {
            Ok(Poll::Pending) => {
                driver.park(cx);
                return Poll::Pending;
            }
            Ok(Poll::Ready(WorkResult::Own(outcome))) => {
                let end = || {
                    // The call is dropped before the flight ends, so that the slot is empty for the next flight.
                    if let Some(slot) = driver.work() {
                        slot.set(None);
                    }
                    // `finish_alone` removes the flight, so `remove_from_table` has nothing left to do. Relaxed, as
                    // there. After it, `make_result` runs code of the user: `Clone`, or the error function.
                    self.in_table.store(false, Ordering::Relaxed);
                    let has_ended = self.table.finish_alone(self.start.hash, self, &mut driver);
                    if has_ended { Ok(outcome) } else { Err(make_result(outcome)) }
                };
                // `end` drops the key and may run `make_result`, and both may panic. Other members may
                // wait for the flight that `finish_alone` has removed, so they get a result all the same.
                match catch_unwind(AssertUnwindSafe(end)) {
                    Ok(Ok(outcome)) => return Poll::Ready(WaitEnd::Own(outcome)),
                    Ok(Err(result)) => self.publish(result),
                    Err(payload) => {
                        self.publish(panicked(None));
                        return Poll::Ready(WaitEnd::Panicked(payload));
                    }
                }
            }
            Ok(Poll::Ready(WorkResult::Answer(result))) if A::IS_COMPLETE => self.publish(result),
            Ok(Poll::Ready(WorkResult::Answer(result))) => {
                // `expect_callers` is code of the mode, and may panic.
                if let Err(payload) =
                    catch_unwind(AssertUnwindSafe(|| self.publish_announced(result)))
                {
                    self.publish(panicked(None));
                    return Poll::Ready(WaitEnd::Panicked(payload));
                }
            }
            Err(payload) => {
                self.publish(panicked(driver.work().and_then(|slot| slot.as_mut().as_pin_mut())));
                return Poll::Ready(WaitEnd::Panicked(payload));
            }
        }
        Poll::Ready(WaitEnd::Answered)
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

use std::{fmt, sync::Arc, time::Duration};

use buttress_control::Nanos;
use buttress_core::Criticality;

use super::{permit::Permit, regulate::Regulate, word::Permits};
use crate::{
    limit::{Admission, Ask, Refusal, Why},
    queue::{Entry, Later, Place, Queue, Supply},
    settings::{Enforcement, Settings},
};

/// A bounded number of permits.
///
/// While no call waits, taking a permit and giving it back are one atomic operation each. The mark lies
/// in the same word.
pub struct Gate<A> {
    permits: Permits,
    pub(crate) regulator: A,
}

impl<A: Regulate> Gate<A> {
    pub(crate) fn new(limit: u32, regulator: A) -> Self {
        Self { permits: Permits::new(limit), regulator }
    }

    /// One with the same limit, out of which nothing has been taken.
    pub(crate) fn fresh(&self) -> Self {
        let (limit, regulator) = self.regulator.fresh(self.limit());
        Self::new(limit, regulator)
    }

    /// Sets how many permits there may be, and says whether the limit was raised. If so,
    /// [`hand_over`](Queue::hand_over) is due: a call may be lining up under the line's lock, going by
    /// the former limit.
    pub(crate) fn store_limit(&self, limit: u32) -> bool {
        self.permits.set_limit(limit)
    }

    pub(crate) fn limit(&self) -> u32 {
        self.permits.limit()
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.permits.out()
    }

    pub(crate) fn admitted(&self) -> [u64; 4] {
        self.permits.admitted()
    }
}

impl<A: Regulate> Queue<Gate<A>, ()> {
    /// Lets a call through, puts it in line, or refuses it.
    #[inline]
    pub(crate) fn admit(self: &Arc<Self>, ask: &Ask<'_>) -> Admission<Permit<A>, Place<Gate<A>>> {
        match self.supply.permits.take(0) {
            Some(in_flight) => Admission::Admitted(self.permit(in_flight, ask.criticality)),
            None => self.admit_later(ask),
        }
    }

    #[cold]
    fn admit_later(self: &Arc<Self>, ask: &Ask<'_>) -> Admission<Permit<A>, Place<Gate<A>>> {
        if ask.settings.enforcement == Enforcement::Observe {
            let bound = self.bound();
            let why = if bound == 0 { Why::Full } else { Why::QueueFull };
            return match self.supply.permits.take(u32::try_from(bound).unwrap_or(u32::MAX)) {
                Some(in_flight) => Admission::Admitted(self.permit(in_flight, ask.criticality)),
                None => Admission::Refused(Refusal::new(why)),
            };
        }
        if self.is_off() {
            // No call has to leave a mark, so a permit may be taken now or not at all.
            return match self.supply.permits.take(0) {
                Some(in_flight) => Admission::Admitted(self.permit(in_flight, ask.criticality)),
                None => Admission::Refused(Refusal::new(Why::Full)),
            };
        }
        self.enter(1, ask)
    }

    /// The permit of a call that was let through as the `in_flight`th.
    #[inline]
    fn permit(self: &Arc<Self>, in_flight: u32, criticality: Criticality) -> Permit<A> {
        self.supply.permits.admit(criticality);
        let sample = self.supply.regulator.begin(in_flight, self.supply.limit());
        Permit::new(Arc::clone(self), sample)
    }

    /// Gives a permit back.
    #[inline]
    pub(crate) fn release(self: &Arc<Self>) {
        if self.supply.permits.give_back() {
            self.hand_over();
        }
    }

    /// Sets how many permits there may be. What is out above that stays out until it is given back.
    pub(crate) fn set_limit(self: &Arc<Self>, limit: u32) {
        if self.supply.store_limit(limit) {
            self.hand_over();
        }
    }
}

impl<A: Regulate> Supply for Gate<A> {
    type Grant = ();
    type Permit = Permit<A>;

    const TIMED: bool = false;

    #[inline]
    fn is_marked(&self) -> bool {
        self.permits.is_marked()
    }

    fn take_or_mark(&self, _: Nanos, _: u32) -> Option<()> {
        self.permits.take_or_mark().map(drop)
    }

    fn take_for_line(&self, _: Nanos, _: Entry) -> Result<(), Later> {
        if self.permits.take_for_line() { Ok(()) } else { Err(Later::Unknown) }
    }

    fn unmark(&self) -> bool {
        self.permits.unmark()
    }

    fn give_back(&self, _: Nanos, (): ()) -> bool {
        self.permits.give_back()
    }

    fn expected_wait(
        &self,
        _: Nanos,
        ahead: u64,
        _: u32,
        mean: Option<Duration>,
    ) -> Option<Duration> {
        let position = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1);
        mean.map(|mean| mean.saturating_mul(position))
    }

    fn refusal(&self, _: Nanos, why: Why, _: u64, _: u32) -> Refusal {
        Refusal::new(why)
    }

    fn permit(
        queue: &Arc<Queue<Self, ()>>,
        (): (),
        criticality: Criticality,
        _: &Settings,
    ) -> Permit<A> {
        queue.permit(queue.supply.in_flight(), criticality)
    }
}

impl<A> fmt::Debug for Gate<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("permits", &self.permits).finish_non_exhaustive()
    }
}

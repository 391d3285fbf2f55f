use std::{fmt, sync::Arc, time::Duration};

use buttress_control::{Nanos, Rates, Reservation};
use buttress_core::{Guard, Quota};

use self::state::Pace;
use crate::{
    limit::{Admission, Ask, Fresh, Hold, Limit, Options, Queued, Refusal, Why},
    queue::{Place, Queue, Supply},
    settings::Enforcement,
    sync::is_only,
};

mod cost;
mod state;

pub use self::cost::{One, Weigh};

/// So many calls per unit of time, by the generic cell rate algorithm.
pub struct RateLimit<W = One> {
    pub(crate) queue: Arc<Queue<Pace, Reservation>>,
    weigh: W,
}

impl<W> RateLimit<W> {
    pub(crate) fn new(rates: Rates, weigh: W) -> Self {
        Self { queue: Arc::new(Queue::new(Pace::new(rates))), weigh }
    }

    pub(crate) fn weighed<V>(self, weigh: V) -> RateLimit<V> {
        RateLimit { queue: self.queue, weigh }
    }
}

impl<W: Weigh<Req>, Req> Limit<Req> for RateLimit<W> {
    type Permit = Paid;
    type Wait = Place<Pace>;

    #[inline]
    fn admit(&self, request: &Req, ask: &Ask<'_>) -> Admission<Paid, Place<Pace>> {
        let cells = self.weigh.weight(request);
        let (queue, now) = (&self.queue, self.queue.now());
        let pace = &queue.supply;
        if !pace.is_marked() && pace.rates.take(now, cells).is_ok() {
            pace.admit(ask.criticality);
            return Admission::Admitted(Paid::new(pace.quotas(ask.settings, now)));
        }
        admit_later(queue, now, cells, ask)
    }
}

#[cold]
fn admit_later(
    queue: &Arc<Queue<Pace, Reservation>>,
    now: Nanos,
    cells: u32,
    ask: &Ask<'_>,
) -> Admission<Paid, Place<Pace>> {
    let pace = &queue.supply;
    let observed = ask.settings.enforcement == Enforcement::Observe;
    // What a queue would have let through later is let through now, and takes from later calls.
    let patience = if observed { pace.full_queue(queue.bound()) } else { Duration::ZERO };
    if (cells == 0 || observed) && pace.rates.reserve(now, cells, patience).is_ok() {
        pace.admit(ask.criticality);
        return Admission::Admitted(Paid::new(pace.quotas(ask.settings, now)));
    }
    let refusal = if pace.is_never(now, cells) {
        Refusal::new(Why::Weight)
    } else if observed || queue.is_off() {
        pace.refusal(now, Why::Rate, 0, cells)
    } else {
        match queue.enter(cells, ask) {
            Admission::Refused(refusal) => refusal,
            admission => return admission,
        }
    };
    Admission::Refused(Refusal { quotas: pace.quotas(ask.settings, now), ..refusal })
}

impl<W: Clone> Fresh for RateLimit<W> {
    type View = RateLimit;

    fn view(&self) -> RateLimit {
        RateLimit { queue: Arc::clone(&self.queue), weigh: One }
    }

    fn fresh(&self) -> Self {
        Self {
            queue: Arc::new(self.queue.fresh(self.queue.supply.fresh())),
            weigh: self.weigh.clone(),
        }
    }

    fn is_idle(&self) -> bool {
        is_only(&self.queue) && self.queue.supply.rates.is_fresh(self.queue.now())
    }

    fn admitted(&self) -> [u64; 4] {
        self.queue.supply.admitted()
    }
}

impl<W> Queued for RateLimit<W> {
    fn change(&self, change: impl Fn(&mut Options)) {
        self.queue.change(change);
    }

    fn queued(&self) -> usize {
        self.queue.len()
    }
}

impl<W: Clone> Clone for RateLimit<W> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), weigh: self.weigh.clone() }
    }
}

impl<W> fmt::Debug for RateLimit<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("rates", &self.queue.supply.rates).finish_non_exhaustive()
    }
}

/// What a call of a [`RateLimit`] has: nothing to give back.
#[derive(Debug)]
pub struct Paid {
    quotas: Option<Box<[Quota]>>,
}

impl Paid {
    #[inline]
    pub(crate) const fn new(quotas: Option<Box<[Quota]>>) -> Self {
        Self { quotas }
    }
}

impl Guard for Paid {}

impl Hold for Paid {
    const OUTLIVES_HEAD: bool = false;

    #[inline]
    fn quotas(&self) -> &[Quota] {
        self.quotas.as_deref().unwrap_or_default()
    }
}

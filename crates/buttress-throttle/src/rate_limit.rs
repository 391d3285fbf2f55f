use std::{fmt, sync::Arc};

use buttress_control::{Denied, Nanos, Rates};

use crate::{
    limit::{Admission, Ask, Fresh, Limit},
    pace::{Pace, Patience},
    refusal::{Refusal, Why},
    settings::Enforcement,
    sync::is_only,
    turn::{Paid, Turn},
    weigh::{One, Weigh},
};

/// So many calls per unit of time, by the generic cell rate algorithm.
pub struct RateLimit<W = One> {
    pub(crate) pace: Arc<Pace>,
    weigh: W,
}

impl<W> RateLimit<W> {
    pub(crate) fn new(rates: Rates, weigh: W) -> Self {
        Self { pace: Arc::new(Pace::new(rates)), weigh }
    }

    pub(crate) fn weighed<V>(self, weigh: V) -> RateLimit<V> {
        RateLimit { pace: self.pace, weigh }
    }
}

impl<W: Weigh<Req>, Req> Limit<Req> for RateLimit<W> {
    type Permit = Paid;
    type Wait = Turn;

    #[inline]
    fn admit(&self, request: &Req, ask: &Ask<'_>) -> Admission<Paid, Turn> {
        let cells = self.weigh.weight(request);
        let pace = &self.pace;
        let now = pace.now();
        match pace.rates.take(now, cells) {
            Ok(()) => {
                pace.admitted(ask.criticality);
                Admission::Admitted(Paid::new(pace.quotas(ask.settings, now)))
            }
            Err(denied) => admit_later(pace, now, cells, denied, ask),
        }
    }
}

#[cold]
fn admit_later(
    pace: &Arc<Pace>,
    now: Nanos,
    cells: u32,
    denied: Denied,
    ask: &Ask<'_>,
) -> Admission<Paid, Turn> {
    let denied = match (denied, ask.settings.enforcement) {
        (Denied::Never, _) => Denied::Never,
        (denied, Enforcement::Reject) => match pace.line_up(now, cells) {
            Some(Ok(reservation)) => {
                let quotas = pace.quotas(ask.settings, now);
                return Admission::Waiting(Turn::new(pace, reservation, ask.criticality, quotas));
            }
            Some(Err(denied)) => denied,
            None => denied,
        },
        (denied, Enforcement::Observe) => match pace.reserve(now, cells, Patience::OfBound) {
            Ok(_) => {
                pace.admitted(ask.criticality);
                return Admission::Admitted(Paid::new(pace.quotas(ask.settings, now)));
            }
            Err(_) => denied,
        },
    };
    let refusal = match denied {
        Denied::After(delay) => Refusal::new(Why::Rate).after(delay),
        // A rate of zero can be raised again; a weight stays what it is.
        Denied::Never if pace.is_closed() => Refusal::new(Why::Rate),
        Denied::Never => Refusal::new(Why::Weight),
    };
    Admission::Refused(Refusal { quotas: pace.quotas(ask.settings, now), ..refusal })
}

impl<W: Clone> Fresh for RateLimit<W> {
    type View = RateLimit;

    fn view(&self) -> RateLimit {
        RateLimit { pace: Arc::clone(&self.pace), weigh: One }
    }

    fn fresh(&self) -> Self {
        Self { pace: Arc::new(self.pace.fresh()), weigh: self.weigh.clone() }
    }

    fn is_idle(&self) -> bool {
        is_only(&self.pace) && self.pace.rates.is_fresh(self.pace.now())
    }

    fn admitted(&self) -> [u64; 4] {
        self.pace.tally.counts()
    }
}

impl<W: Clone> Clone for RateLimit<W> {
    fn clone(&self) -> Self {
        Self { pace: Arc::clone(&self.pace), weigh: self.weigh.clone() }
    }
}

impl<W> fmt::Debug for RateLimit<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("rates", &self.pace.rates).finish_non_exhaustive()
    }
}

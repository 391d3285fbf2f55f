use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_control::Reservation;
use buttress_core::{Criticality, Guard, Quota, Timer};

use crate::{
    limit::{Hold, Wait},
    pace::Pace,
    refusal::Refusal,
};

/// What a call of a [`RateLimit`](crate::RateLimit) has: nothing to give back.
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

/// A reservation that is not due yet. Dropped before it is, it goes to others.
#[derive(Debug)]
pub struct Turn {
    pace: Arc<Pace>,
    /// `None` once it was taken.
    reservation: Option<Reservation>,
    timer: Timer,
    criticality: Criticality,
    quotas: Option<Box<[Quota]>>,
}

impl Turn {
    pub(crate) fn new(
        pace: &Arc<Pace>,
        reservation: Reservation,
        criticality: Criticality,
        quotas: Option<Box<[Quota]>>,
    ) -> Self {
        let (pace, timer) = (Arc::clone(pace), Timer::new());
        Self { pace, reservation: Some(reservation), timer, criticality, quotas }
    }
}

impl Wait<Paid> for Turn {
    fn poll_admit(&mut self, cx: &mut Context<'_>) -> Poll<Result<Paid, Refusal>> {
        if let Some(reservation) = &self.reservation {
            ready!(self.timer.poll(cx, self.pace.due(reservation), &self.pace.timers));
            self.reservation = None;
            self.pace.leave();
            self.pace.admitted(self.criticality);
        }
        Poll::Ready(Ok(Paid::new(self.quotas.take())))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.pace.rates.cancel(self.pace.now(), &reservation);
            self.pace.leave();
        }
    }
}

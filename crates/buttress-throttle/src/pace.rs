use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_control::{Denied, Nanos, Rate, Rates, Reservation};
use buttress_core::{Criticality, Deadline, Quota, Timers};

use crate::{
    epoch::Epoch,
    settings::{Announcement, Settings},
    tally::Tally,
};

/// The rates of a [`RateLimit`](crate::RateLimit), and those who wait for their turn.
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) rates: Rates,
    pub(crate) tally: Tally,
    pub(crate) timers: Arc<Timers>,
    waiting: AtomicUsize,
    bound: AtomicUsize,
    /// In nanoseconds.
    max_wait: AtomicU64,
    epoch: Epoch,
}

/// How long a reservation may lie ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Until the caller's deadline, and no longer than the layer allows.
    OfCaller,
    /// As long as a full queue takes.
    OfBound,
}

impl Pace {
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            rates,
            tally: Tally::new(),
            timers: Arc::default(),
            waiting: AtomicUsize::new(0),
            bound: AtomicUsize::new(0),
            max_wait: AtomicU64::new(u64::MAX),
            epoch: Epoch::new(),
        }
    }

    /// The same with nothing taken and nobody waiting.
    pub(crate) fn fresh(&self) -> Self {
        let fresh = Self { timers: Arc::clone(&self.timers), ..Self::new(self.rates.fresh()) };
        fresh.bound.store(self.bound.load(Ordering::Relaxed), Ordering::Relaxed);
        fresh.max_wait.store(self.max_wait.load(Ordering::Relaxed), Ordering::Relaxed);
        fresh
    }

    pub(crate) fn queue(&self, bound: usize) {
        self.bound.store(bound, Ordering::Relaxed);
    }

    pub(crate) fn max_wait(&self, max: Duration) {
        self.max_wait.store(Nanos::from(max).get(), Ordering::Relaxed);
    }

    /// A reservation for somebody who waits for it; `None` if the queue is full.
    pub(crate) fn line_up(&self, now: Nanos, cells: u32) -> Option<Result<Reservation, Denied>> {
        let bound = self.bound.load(Ordering::Relaxed);
        let join = |waiting| (waiting < bound).then(|| waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, join).ok()?;
        let reserved = self.reserve(now, cells, Patience::OfCaller);
        if reserved.is_err() {
            self.leave();
        }
        Some(reserved)
    }

    pub(crate) fn reserve(
        &self,
        now: Nanos,
        cells: u32,
        patience: Patience,
    ) -> Result<Reservation, Denied> {
        let patience = match patience {
            Patience::OfCaller => {
                let max = Duration::from_nanos(self.max_wait.load(Ordering::Relaxed));
                Deadline::current().map_or(max, |deadline| deadline.remaining().min(max))
            }
            Patience::OfBound => self.full_queue(),
        };
        self.rates.reserve(now, cells, patience)
    }

    /// Whether one of the rates lets nothing through at all.
    pub(crate) fn is_closed(&self) -> bool {
        self.rates.laws().any(|law| law.rate().count() == 0)
    }

    /// Somebody does not wait any more.
    pub(crate) fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn admitted(&self, criticality: Criticality) {
        self.tally.add(criticality);
    }

    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.epoch.now()
    }

    /// When a reservation comes due.
    pub(crate) fn due(&self, reservation: &Reservation) -> Deadline {
        self.epoch.deadline(reservation.at())
    }

    /// What a caller may be told, if it is to be told anything.
    #[inline]
    pub(crate) fn quotas(&self, settings: &Settings, now: Nanos) -> Option<Box<[Quota]>> {
        match settings.announcement {
            Announcement::Silent => None,
            Announcement::Quotas => Some(self.describe(settings.origin.name(), now)),
        }
    }

    #[cold]
    fn describe(&self, name: &str, now: Nanos) -> Box<[Quota]> {
        let one = self.rates.laws().nth(1).is_none();
        let describe = |(law, number): (&buttress_control::Gcra, u32)| {
            let rate = law.rate();
            Quota {
                name: if one { name.to_owned() } else { format!("{name}-{number}") }.into(),
                quota: u64::from(rate.count()),
                window: rate.period(),
                remaining: u64::from(law.tokens(now)),
                reset: law.full_in(now),
            }
        };
        self.rates.laws().zip(1..).map(describe).collect()
    }

    /// How long the last place of a full queue takes, if every call takes one cell.
    fn full_queue(&self) -> Duration {
        let bound = u32::try_from(self.bound.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let interval = self.rates.laws().map(|law| interval(law.rate())).max().unwrap_or_default();
        interval.saturating_mul(bound)
    }
}

fn interval(rate: Rate) -> Duration {
    rate.period() / rate.count().max(1)
}

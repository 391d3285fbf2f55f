use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_control::{Backoff, Delays};
use buttress_core::{Age, Deadline, Lifetime};
use tokio::time::Instant;

use crate::settings::Ticket;

/// An answer that is kept, and until when.
#[derive(Debug)]
pub struct Kept<V> {
    value: V,
    /// When it was there.
    made: Instant,
    lifetime: Lifetime,
    // Reckoned once, for comparing instants is cheaper than taking the time between them.
    fresh_until: Instant,
    stale_until: Instant,
    spare_until: Instant,
    /// How long it took to make.
    took: Duration,
    /// What it takes, in bytes.
    weight: usize,
    // In place, for an answer that is put once more for it could be one that was forgotten meanwhile.
    /// Not to be refreshed before so many nanoseconds after it was made: one does so, or has failed.
    refresh_from: AtomicU64,
    /// How far those that failed have come.
    delays: Mutex<Delays>,
    pub(crate) version: u32,
    /// Whether it is forgotten; `None` if it came from far away.
    ticket: Option<Ticket>,
}

/// What is kept of an outcome.
#[derive(Debug)]
pub enum Held<R, E> {
    /// A response, in the form that many can have.
    Response(R),
    /// An error that may be shared.
    Error(Arc<E>),
}

impl<V> Kept<V> {
    /// A `value` made just now, which took `took` to make and takes `weight` bytes.
    pub fn new(value: V, lifetime: Lifetime, took: Duration, weight: usize) -> Self {
        Self::made_at(Instant::now(), value, lifetime, took, weight)
    }

    pub(crate) fn made_at(
        made: Instant,
        value: V,
        lifetime: Lifetime,
        took: Duration,
        weight: usize,
    ) -> Self {
        let fresh_until = after(made, lifetime.fresh);
        Self {
            value,
            made,
            lifetime,
            fresh_until,
            stale_until: after(fresh_until, lifetime.while_revalidate),
            spare_until: after(fresh_until, lifetime.if_error),
            took,
            weight,
            refresh_from: AtomicU64::new(0),
            delays: Mutex::new(Delays::new()),
            version: 0,
            ticket: None,
        }
    }

    /// The answer itself.
    pub const fn value(&self) -> &V {
        &self.value
    }

    /// How much longer it is good for, and how old it is by now: what a store somewhere else must note
    /// to make the same of it again.
    pub fn lifetime(&self) -> Lifetime {
        let past = self.since(Instant::now());
        let late = past.saturating_sub(self.lifetime.fresh);
        Lifetime {
            fresh: self.lifetime.fresh.saturating_sub(past),
            while_revalidate: self.lifetime.while_revalidate.saturating_sub(late),
            if_error: self.lifetime.if_error.saturating_sub(late),
            age: self.lifetime.age.saturating_add(past),
            is_told: self.lifetime.is_told,
        }
    }

    /// How long it took to make.
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// What it takes, in bytes.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Whether nobody can be given it any more.
    pub fn is_over(&self) -> bool {
        matches!(self.state(Instant::now()), State::Over)
    }

    pub(crate) fn state(&self, now: Instant) -> State {
        if now < self.fresh_until {
            State::Fresh
        } else if now < self.stale_until {
            State::Stale
        } else if now < self.spare_until {
            State::Spare
        } else {
            State::Over
        }
    }

    /// How long it is fresh yet.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.fresh_until.saturating_duration_since(now)
    }

    pub(crate) const fn age(&self) -> Age {
        Age::new(self.lifetime.age, self.made)
    }

    pub(crate) fn may_refresh(&self, now: Instant) -> bool {
        self.nanos(now) >= self.refresh_from.load(Ordering::Acquire)
    }

    /// Whether whoever asks is the one to refresh it: nobody else is until that has come to an end.
    pub(crate) fn claim(&self, now: Instant) -> bool {
        let now = self.nanos(now);
        let claimed = |from: u64| (now >= from && from < u64::MAX).then_some(u64::MAX);
        self.refresh_from.fetch_update(Ordering::AcqRel, Ordering::Acquire, claimed).is_ok()
    }

    /// The refresh did not begin: the next who asks may.
    pub(crate) fn disclaim(&self) {
        self.refresh_from.store(0, Ordering::Release);
    }

    /// A refresh has failed: not to be refreshed for a while.
    pub(crate) fn put_off(&self, backoff: &Backoff, chance: f64) {
        let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let delay = backoff.next(&mut delays, chance);
        // The end of time stands for one that is going on.
        let from = self.nanos(Instant::now()).saturating_add(as_nanos(delay)).min(u64::MAX - 1);
        self.refresh_from.store(from, Ordering::Release);
    }

    /// The same, as of the version of its subject and for as long as the `ticket` is good.
    pub(crate) fn of(self, version: u32, ticket: Ticket) -> Self {
        Self { version, ticket: Some(ticket), ..self }
    }

    /// Whether nobody had it forgotten.
    pub(crate) fn is_valid(&self) -> bool {
        self.ticket.as_ref().is_none_or(|ticket| ticket.load(Ordering::Acquire))
    }

    /// Whether it may be given out in place of a failure.
    pub(crate) fn is_spare(&self, now: Instant) -> bool {
        now < self.spare_until
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.made)
    }

    fn nanos(&self, now: Instant) -> u64 {
        as_nanos(self.since(now))
    }
}

impl<R: Clone, E> Clone for Held<R, E> {
    fn clone(&self) -> Self {
        match self {
            Self::Response(response) => Self::Response(response.clone()),
            Self::Error(error) => Self::Error(Arc::clone(error)),
        }
    }
}

fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `wait` after `instant`. More than thirty years count as thirty years.
fn after(instant: Instant, wait: Duration) -> Instant {
    Deadline::from_start(instant, wait).instant()
}

/// What a kept answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Fresh,
    /// While it is being refreshed.
    Stale,
    /// In place of a failure.
    Spare,
    Over,
}

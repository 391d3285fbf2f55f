use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_control::{Backoff, Delays};
use buttress_core::{Age, Deadline, Lifetime, WantedFreshness};
use tokio::time::Instant;

use super::{invalidations::ResourceGeneration, valid_flag::ValidFlag};

/// An answer that is kept, and until when.
#[derive(Debug)]
pub struct CacheEntry<V> {
    value: V,
    /// When it was there.
    made: Instant,
    // Every look compares this one, so it is an instant. All else is in nanoseconds, which take half as
    // much: there may be a great many answers.
    fresh_until: Instant,
    /// For how long after that it may be given out while it is being refreshed.
    stale_while_revalidate: u64,
    /// For how long after `fresh_until` it may be given out in place of a failure.
    stale_if_error: u64,
    /// How old it was already.
    age: u64,
    /// How long it took to make.
    took: u64,
    /// What it takes, in bytes.
    weight: usize,
    // In place, for an answer that is put once more for it could be one that was forgotten meanwhile.
    /// Not to be refreshed before so many nanoseconds after it was made: one does so, or has failed.
    refresh_from: AtomicU64,
    /// How far those that failed have come.
    delays: Mutex<Delays>,
    pub(crate) resource_generation: ResourceGeneration,
    is_explicit: bool,
    /// Whether it is forgotten; `None` if it came from far away.
    valid: Option<ValidFlag>,
}

/// What is kept of an outcome.
#[derive(Debug)]
#[non_exhaustive]
pub enum CachedOutcome<R, E> {
    /// A response, in the form that many can have.
    Response(R),
    /// An error that may be shared.
    Error(Arc<E>),
}

impl<V> CacheEntry<V> {
    /// A `value` made just now, which took `took` to make and takes `weight` bytes. A time of more than
    /// thirty years counts as thirty years.
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
        Self {
            value,
            made,
            fresh_until: after(made, lifetime.fresh),
            stale_while_revalidate: bounded(lifetime.stale_while_revalidate),
            stale_if_error: bounded(lifetime.stale_if_error),
            age: bounded(lifetime.age),
            took: bounded(took),
            weight,
            refresh_from: AtomicU64::new(0),
            delays: Mutex::new(Delays::new()),
            resource_generation: ResourceGeneration::FIRST,
            is_explicit: lifetime.is_explicit,
            valid: None,
        }
    }

    /// The answer itself.
    pub const fn value(&self) -> &V {
        &self.value
    }

    /// How much longer it is good for, and how old it is by now: what a store somewhere else must note
    /// to make the same of it again.
    pub fn lifetime(&self) -> Lifetime {
        let now = Instant::now();
        let staleness = self.staleness(now);
        let mut lifetime = Lifetime::new(self.remaining(now));
        lifetime.stale_while_revalidate =
            Duration::from_nanos(self.stale_while_revalidate.saturating_sub(staleness));
        lifetime.stale_if_error =
            Duration::from_nanos(self.stale_if_error.saturating_sub(staleness));
        lifetime.age = Duration::from_nanos(self.age.saturating_add(self.nanos(now)));
        lifetime.is_explicit = self.is_explicit;
        lifetime
    }

    /// How long it took to make.
    pub const fn took(&self) -> Duration {
        Duration::from_nanos(self.took)
    }

    /// What it takes, in bytes.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Whether nobody can be given it any more.
    pub fn is_expired(&self) -> bool {
        matches!(self.freshness(Instant::now()), EntryFreshness::Expired)
    }

    pub(crate) fn freshness(&self, now: Instant) -> EntryFreshness {
        if now < self.fresh_until {
            return EntryFreshness::Fresh;
        }
        match self.staleness(now) {
            staleness if staleness < self.stale_while_revalidate => EntryFreshness::Stale,
            staleness if staleness < self.stale_if_error => EntryFreshness::StaleIfError,
            _ => EntryFreshness::Expired,
        }
    }

    /// Whether it is as fresh as it is `wanted`, or stale and wanted all the same.
    #[inline]
    pub(crate) fn satisfies(&self, wanted: Option<&WantedFreshness>, now: Instant) -> bool {
        // Nearly all requests want nothing particular.
        wanted.is_none_or(|wanted| self.is_as_fresh_as(wanted, now))
    }

    #[cold]
    fn is_as_fresh_as(&self, wanted: &WantedFreshness, now: Instant) -> bool {
        if *wanted == WantedFreshness::default() {
            return true;
        }
        let age = Duration::from_nanos(self.age.saturating_add(self.nanos(now)));
        if now < self.fresh_until {
            wanted.accepts_fresh(age, self.remaining(now))
        } else {
            wanted.accepts_stale(age, Duration::from_nanos(self.staleness(now)))
        }
    }

    /// How long it is fresh yet.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        self.fresh_until.saturating_duration_since(now)
    }

    pub(crate) const fn age(&self) -> Age {
        Age::new(Duration::from_nanos(self.age), self.made)
    }

    pub(crate) fn may_refresh(&self, now: Instant) -> bool {
        self.nanos(now) >= self.refresh_from.load(Ordering::Acquire)
    }

    /// Whether whoever asks is the one to refresh it: nobody else is until that has come to an end.
    pub(crate) fn claim_refresh(&self, now: Instant) -> bool {
        let now = self.nanos(now);
        let claimed = |from: u64| (now >= from && from < u64::MAX).then_some(u64::MAX);
        self.refresh_from.fetch_update(Ordering::AcqRel, Ordering::Acquire, claimed).is_ok()
    }

    /// The refresh did not begin: the next who asks may.
    pub(crate) fn release_refresh(&self) {
        self.refresh_from.store(0, Ordering::Release);
    }

    /// A refresh has failed: not to be refreshed for a while.
    pub(crate) fn delay_refresh(&self, backoff: &Backoff, chance: f64) {
        let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let delay = backoff.next(&mut delays, chance);
        // The end of time stands for one that is going on.
        let from = self.nanos(Instant::now()).saturating_add(as_nanos(delay)).min(u64::MAX - 1);
        self.refresh_from.store(from, Ordering::Release);
    }

    /// The same, as of the version of its subject and for as long as the `valid` flag is set.
    pub(crate) fn valid_while(
        self,
        resource_generation: ResourceGeneration,
        valid: ValidFlag,
    ) -> Self {
        Self { resource_generation, valid: Some(valid), ..self }
    }

    /// Whether nobody had it forgotten.
    pub(crate) fn is_valid(&self) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid.load(Ordering::Acquire))
    }

    /// Whether it may be given out in place of a failure.
    pub(crate) fn can_replace_error(&self, now: Instant) -> bool {
        now < self.fresh_until || self.staleness(now) < self.stale_if_error
    }

    /// How long it has not been fresh any more, in nanoseconds.
    fn staleness(&self, now: Instant) -> u64 {
        as_nanos(now.saturating_duration_since(self.fresh_until))
    }

    /// How long it has been there, in nanoseconds.
    fn nanos(&self, now: Instant) -> u64 {
        as_nanos(now.saturating_duration_since(self.made))
    }
}

impl<R: Clone, E> Clone for CachedOutcome<R, E> {
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

/// A duration in nanoseconds, of thirty years at most.
fn bounded(duration: Duration) -> u64 {
    as_nanos(duration.min(Deadline::NEVER))
}

/// `wait` after `instant`. More than thirty years count as thirty years.
fn after(instant: Instant, wait: Duration) -> Instant {
    Deadline::from_start(instant, wait).instant()
}

/// What a kept answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryFreshness {
    Fresh,
    /// While it is being refreshed.
    Stale,
    /// In place of a failure.
    StaleIfError,
    Expired,
}

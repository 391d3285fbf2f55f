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

/// A cached outcome with its lifetime.
#[derive(Debug)]
pub struct CacheEntry<V> {
    value: V,
    /// When the outcome arrived.
    made: Instant,
    // Every lookup compares this instant. All other times are in nanoseconds, which take half the space,
    // because there may be very many entries.
    fresh_until: Instant,
    /// How long after `fresh_until` the entry may be served while it is being refreshed.
    stale_while_revalidate: u64,
    /// How long after `fresh_until` the entry may be served in place of a failure.
    stale_if_error: u64,
    /// The age of the outcome when it arrived.
    age: u64,
    /// How long the call took.
    took: u64,
    /// The bytes that the entry and its key take.
    weight: usize,
    // The refresh state is changed in place. Inserting a changed copy could restore an entry that was
    // invalidated meanwhile.
    /// Nanoseconds after `made` before which no refresh may start. `u64::MAX` marks a refresh in progress.
    refresh_from: AtomicU64,
    /// The backoff of refreshes that left this entry in its place. A leaf lock: no other lock is taken under it.
    delays: Mutex<Delays>,
    pub(crate) resource_generation: ResourceGeneration,
    is_explicit: bool,
    /// False once the key is invalidated. `None` if the entry came from a remote store.
    valid: Option<ValidFlag>,
}

/// An outcome in the form in which it is cached.
#[derive(Debug)]
#[non_exhaustive]
pub enum CachedOutcome<R, E> {
    /// A response, in the form that several callers can share.
    Response(R),
    /// An error that may be shared.
    Error(Arc<E>),
}

impl<V> CacheEntry<V> {
    /// Makes an entry of a `value` that has arrived now, after a call of length `took`, and that takes
    /// `weight` bytes. A time of more than thirty years counts as thirty years.
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
            // An entry that a store makes again is of the first generation, so any invalidation of its
            // resource forbids the entry. `valid_while` sets the generation for the result of a flight.
            resource_generation: ResourceGeneration::FIRST,
            is_explicit: lifetime.is_explicit,
            valid: None,
        }
    }

    /// Returns the cached outcome.
    pub const fn value(&self) -> &V {
        &self.value
    }

    /// Returns the remaining lifetime and the current age. A remote store must save these to make an equal
    /// entry again.
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

    /// Returns how long the call took.
    pub const fn took(&self) -> Duration {
        Duration::from_nanos(self.took)
    }

    /// Returns the bytes that the entry and its key take.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Returns whether the entry may not be served any more, not even in place of a failure.
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

    /// Whether the entry is as fresh as the request wants it, or as stale as the request accepts.
    #[inline]
    pub(crate) fn satisfies(&self, wanted: Option<&WantedFreshness>, now: Instant) -> bool {
        // Nearly all requests want nothing particular, so the check is out of line.
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

    /// How much longer the entry is fresh.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        self.fresh_until.saturating_duration_since(now)
    }

    pub(crate) const fn age(&self) -> Age {
        Age::new(Duration::from_nanos(self.age), self.made)
    }

    /// Whether a refresh may start. Pairs with the release stores of `claim_refresh` and `delay_refresh`.
    pub(crate) fn may_refresh(&self, now: Instant) -> bool {
        self.nanos(now) >= self.refresh_from.load(Ordering::Acquire)
    }

    /// Claims the refresh. At most one caller succeeds until `release_refresh` or `delay_refresh`, because
    /// the compare-and-swap replaces a time with `u64::MAX`.
    pub(crate) fn claim_refresh(&self, now: Instant) -> bool {
        let now = self.nanos(now);
        let claimed = |from: u64| (now >= from && from < u64::MAX).then_some(u64::MAX);
        // Acquire pairs with the stores that end a claim: a claim sees all that the refresh before did.
        self.refresh_from.fetch_update(Ordering::AcqRel, Ordering::Acquire, claimed).is_ok()
    }

    /// Gives back a claim whose refresh did not begin. The next caller may claim it.
    pub(crate) fn release_refresh(&self) {
        // Loses no backoff: `claim_refresh` succeeds only after the time that `delay_refresh` has set.
        self.refresh_from.store(0, Ordering::Release);
    }

    /// Gives the claim of an ended refresh back. The next refresh of this entry waits for the backoff.
    pub(crate) fn delay_refresh(&self, backoff: &Backoff, chance: f64) {
        // Never contended: the caller, `Refresh::drop`, holds the claim until the store below.
        // `Backoff::next` is no foreign code, so poison means nothing.
        let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let delay = backoff.next(&mut delays, chance);
        // `u64::MAX` marks a refresh in progress; stay below it.
        let from = self.nanos(Instant::now()).saturating_add(as_nanos(delay)).min(u64::MAX - 1);
        self.refresh_from.store(from, Ordering::Release);
    }

    /// The entry, as of a generation of its resource and for as long as the `valid` flag is set.
    pub(crate) fn valid_while(
        self,
        resource_generation: ResourceGeneration,
        valid: ValidFlag,
    ) -> Self {
        Self { resource_generation, valid: Some(valid), ..self }
    }

    /// Whether the key was not invalidated. Pairs with the release store of `forbid_caching`.
    pub(crate) fn is_valid(&self) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid.load(Ordering::Acquire))
    }

    /// Whether the entry may be served in place of a failure.
    pub(crate) fn can_replace_error(&self, now: Instant) -> bool {
        now < self.fresh_until || self.staleness(now) < self.stale_if_error
    }

    /// How long the entry has been stale, in nanoseconds.
    fn staleness(&self, now: Instant) -> u64 {
        as_nanos(now.saturating_duration_since(self.fresh_until))
    }

    /// How long ago the outcome arrived, in nanoseconds.
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

/// How an entry may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryFreshness {
    Fresh,
    /// The entry may be served while it is being refreshed.
    Stale,
    /// The entry may be served in place of a failure.
    StaleIfError,
    Expired,
}

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_control::{Backoff, Delays};
use buttress_core::{Age, Deadline, Lifetime, WantedFreshness};
use tokio::time::Instant;

use self::{nanos::as_nanos, standing::Standing};
use super::invalidations::ResourceGeneration;

mod nanos;
mod outcome;
mod standing;
#[cfg(feature = "shared-cache")]
mod told;
mod valid_flag;

pub use self::outcome::CachedOutcome;
pub(crate) use self::valid_flag::{ValidFlag, forbid_caching};

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
    standing: Standing,
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
            standing: Standing::made(lifetime.is_explicit),
        }
    }

    /// Moves the entry into the past: its outcome arrived `elapsed` earlier, and its lifetime began then.
    ///
    /// For a store that saves the [`lifetime`](Self::lifetime) of an entry and makes the entry again later.
    /// An entry that has become stale knows since when.
    pub fn aged(mut self, elapsed: Duration) -> Self {
        let past = |instant: Instant| instant.checked_sub(elapsed);
        match (past(self.made), past(self.fresh_until)) {
            (Some(made), Some(fresh_until)) => (self.made, self.fresh_until) = (made, fresh_until),
            // The clock of the process began later.
            _ => self.shorten(elapsed),
        }
        self
    }

    /// Takes `elapsed` from the lifetime.
    #[cold]
    fn shorten(&mut self, elapsed: Duration) {
        let fresh = self.remaining(self.made);
        let staleness = as_nanos(elapsed.saturating_sub(fresh));
        self.stale_while_revalidate = self.stale_while_revalidate.saturating_sub(staleness);
        self.stale_if_error = self.stale_if_error.saturating_sub(staleness);
        self.age = self.age.saturating_add(as_nanos(elapsed));
        self.fresh_until = after(self.made, fresh.saturating_sub(elapsed));
    }

    /// Marks the entry with the stamp by which a store tells the entry from others of the same key.
    ///
    /// The stamp is for the store alone: the layer passes the entry back in
    /// [`Intent::Refresh`](crate::Intent::Refresh). A store can mark an entry that it is to
    /// [insert](crate::Store::insert) through [`Arc::get_mut`](std::sync::Arc::get_mut).
    pub fn set_stamp(&mut self, stamp: [u8; 16]) {
        self.standing.set_stamp(stamp);
    }

    /// Whether a store told less than `ttl` nanoseconds ago that it has the entry. `None` without a stamp.
    #[cfg(feature = "shared-cache")]
    #[inline]
    pub(crate) fn is_told_within(&self, ttl: u64, now: Instant) -> Option<bool> {
        self.standing.told().map(|told| told.is_within(ttl, now))
    }

    /// The store has told now that it has the entry.
    #[cfg(feature = "shared-cache")]
    pub(crate) fn be_told(&self) {
        if let Some(told) = self.standing.told() {
            told.renew();
        }
    }

    /// Returns the [stamp](Self::set_stamp). `None` if no store has marked the entry.
    pub fn stamp(&self) -> Option<[u8; 16]> {
        self.standing.stamp()
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
        lifetime.is_explicit = self.standing.is_explicit();
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
        self.hold_refresh(delay);
    }

    /// Gives the claim of an ended refresh back. The next refresh of this entry waits for `delay`.
    pub(crate) fn hold_refresh(&self, delay: Duration) {
        // `u64::MAX` marks a refresh in progress; stay below it.
        let from = self.nanos(Instant::now()).saturating_add(as_nanos(delay)).min(u64::MAX - 1);
        self.refresh_from.store(from, Ordering::Release);
    }

    /// The entry, as of a generation of its resource and for as long as the `valid` flag is set.
    pub(crate) fn valid_while(mut self, generation: ResourceGeneration, valid: ValidFlag) -> Self {
        self.be_valid_while(generation, valid);
        self
    }

    /// As [`valid_while`](Self::valid_while), in place. A stamp stays.
    pub(crate) fn be_valid_while(&mut self, generation: ResourceGeneration, valid: ValidFlag) {
        self.standing.be_valid_while(generation, valid);
    }

    /// The generation of the resource when the entry was made.
    #[inline]
    pub(crate) const fn resource_generation(&self) -> ResourceGeneration {
        self.standing.resource_generation()
    }

    /// Whether the key was not invalidated. Pairs with the release store of `forbid_caching`.
    #[inline]
    pub(crate) fn is_valid(&self) -> bool {
        self.standing.is_valid()
    }

    /// Whether the entry may be served in place of a failure.
    pub(crate) fn can_replace_error(&self, now: Instant) -> bool {
        now < self.fresh_until || self.staleness(now) < self.stale_if_error
    }

    /// Whether the entry may be served in place of a failure for longer than `other`.
    pub(crate) fn outlasts(&self, other: &Self, now: Instant) -> bool {
        let left = |entry: &Self| {
            let fresh = as_nanos(entry.remaining(now));
            fresh.saturating_add(entry.stale_if_error.saturating_sub(entry.staleness(now)))
        };
        left(self) > left(other)
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

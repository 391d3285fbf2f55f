use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use buttress_state::{StoreError, StoreErrorKind};

use tokio::time::Instant;

use super::WithoutStore;

/// The numbers of a fleet's rate in this process. Not atomic across its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetSnapshot {
    /// Requests to the store that have ended.
    pub trips: u64,
    /// Cells that the store granted.
    pub granted: u64,
    /// Requests that the store granted less than wanted.
    pub denied_trips: u64,
    /// Held cells that ended before a call took them.
    pub expired: u64,
    /// Cells that were admitted without the store.
    pub away_admitted: u64,
    /// Cells that were admitted without the store, and that the store does not know of yet.
    pub debt: u64,
    /// Requests at which the store had lost the state of a rate.
    pub losses: u64,
    /// Requests that failed, by the kind of error: see [`errors_of`](Self::errors_of).
    pub errors: [u64; 4],
    /// Keys that are away from the store now.
    pub keys_away: usize,
    /// The longest time of a request so far.
    pub trip_time_max: Duration,
}

impl FleetSnapshot {
    /// Returns the number of requests that failed with an error of this kind.
    pub fn errors_of(&self, kind: StoreErrorKind) -> u64 {
        self.errors.get(index_of(kind)).copied().unwrap_or_default()
    }
}

/// The counters of all keys of a layer.
#[derive(Debug)]
pub(super) struct Numbers {
    started: Instant,
    /// The name of the layer, in events.
    pub(super) instance: OnceLock<Box<str>>,
    pub(super) trips: AtomicU64,
    pub(super) granted: AtomicU64,
    pub(super) denied_trips: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) away_admitted: AtomicU64,
    pub(super) debt: AtomicU64,
    pub(super) losses: AtomicU64,
    pub(super) errors: [AtomicU64; 4],
    pub(super) keys_away: AtomicUsize,
    pub(super) trip_nanos_max: AtomicU64,
    /// Debts of keys without calls that are being told.
    pub(super) payments: AtomicUsize,
    /// When `throttle.state_lost` may be reported again, in nanoseconds since `started`.
    next_state_lost: AtomicU64,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            instance: OnceLock::new(),
            trips: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            denied_trips: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            away_admitted: AtomicU64::new(0),
            debt: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            errors: [const { AtomicU64::new(0) }; 4],
            keys_away: AtomicUsize::new(0),
            trip_nanos_max: AtomicU64::new(0),
            payments: AtomicUsize::new(0),
            next_state_lost: AtomicU64::new(0),
        }
    }

    pub(super) fn snapshot(&self) -> FleetSnapshot {
        let [first, second, third, fourth] = &self.errors;
        FleetSnapshot {
            trips: self.trips.load(Relaxed),
            granted: self.granted.load(Relaxed),
            denied_trips: self.denied_trips.load(Relaxed),
            expired: self.expired.load(Relaxed),
            away_admitted: self.away_admitted.load(Relaxed),
            debt: self.debt.load(Relaxed),
            losses: self.losses.load(Relaxed),
            errors: [first, second, third, fourth].map(|count| count.load(Relaxed)),
            keys_away: self.keys_away.load(Relaxed),
            trip_time_max: Duration::from_nanos(self.trip_nanos_max.load(Relaxed)),
        }
    }

    fn name(&self) -> &str {
        self.instance.get().map_or("throttle", |name| name)
    }

    pub(super) fn trip(&self, time: Duration) {
        self.trips.fetch_add(1, Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.trip_nanos_max.fetch_max(nanos, Relaxed);
    }

    pub(super) fn failed(&self, error: &StoreError) {
        if let Some(count) = self.errors.get(index_of(error.kind())) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts a key that goes away from the store, and reports the first.
    pub(super) fn lost(&self, error: &StoreError, policy: WithoutStore) {
        if self.keys_away.fetch_add(1, Relaxed) == 0 {
            let (instance, policy) = (self.name(), policy.as_str());
            let cause = std::error::Error::source(error).map(tracing::field::display);
            let error = error.kind().as_str();
            tracing::warn!(name: "throttle.store_lost", target: "buttress", instance, error, cause, policy);
        }
    }

    /// Counts a key that is back, and reports the last.
    pub(super) fn regained(&self, away: Duration, debt: u64) {
        if self.keys_away.fetch_sub(1, Relaxed) == 1 {
            let instance = self.name();
            tracing::info!(name: "throttle.store_regained", target: "buttress", instance, ?away, debt);
        }
    }

    /// Counts a bucket that the store had lost, and reports one in a second at most.
    pub(super) fn state_lost(&self) {
        self.losses.fetch_add(1, Relaxed);
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let next = self.next_state_lost.load(Relaxed);
        let after = now.saturating_add(SECOND);
        // Of several calls at the same time, one moves the time, and reports.
        let is_due = now >= next
            && self.next_state_lost.compare_exchange(next, after, Relaxed, Relaxed).is_ok();
        if is_due {
            let instance = self.name();
            tracing::warn!(name: "throttle.state_lost", target: "buttress", instance);
        }
    }

    pub(super) fn leased(&self, granted: u32, want: u32) {
        self.granted.fetch_add(granted.into(), Relaxed);
        if granted < want {
            self.denied_trips.fetch_add(1, Relaxed);
        }
        let instance = self.name();
        tracing::trace!(name: "throttle.leased", target: "buttress", instance, granted, want);
    }
}

fn index_of(kind: StoreErrorKind) -> usize {
    StoreErrorKind::ALL.iter().position(|known| *known == kind).unwrap_or(3)
}

const SECOND: u64 = 1_000_000_000;

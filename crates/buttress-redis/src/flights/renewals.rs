use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_state::sync::lock;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use super::{group::Place, reply};
use crate::connection::{Claim, IsRunning, Trips};

/// The locks of this process, which a task renews until their flights end.
#[derive(Debug)]
pub(super) struct Renewals {
    pub(super) lease: Duration,
    /// The longest time for which a lock is renewed.
    pub(super) longest: Duration,
    /// The time limit of a renewal.
    limit: Duration,
    locks: Mutex<Vec<Renewal>>,
    is_running: IsRunning,
}

#[derive(Clone, Debug)]
struct Renewal {
    place: Place,
    owner: [u8; 16],
    next: Instant,
    until: Instant,
}

impl Renewals {
    pub(super) fn new(lease: Duration, longest: Duration, limit: Duration) -> Self {
        Self { lease, longest, limit, locks: Mutex::default(), is_running: IsRunning::default() }
    }

    pub(super) fn lease_millis(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// Renews the lock of `owner` from now on.
    pub(super) fn add(self: &Arc<Self>, place: Place, owner: [u8; 16], trips: &Arc<Trips>) {
        let now = Instant::now();
        let next = now + self.lease / 3;
        if next >= now + self.longest {
            return;
        }
        lock(&self.locks).push(Renewal { place, owner, next, until: now + self.longest });
        self.run_in_background(trips);
    }

    /// Renews the lock of `owner` no more.
    pub(super) fn end(&self, owner: &[u8; 16]) {
        lock(&self.locks).retain(|renewal| renewal.owner != *owner);
    }

    fn run_in_background(self: &Arc<Self>, trips: &Arc<Trips>) {
        if let Some(claim) = self.is_running.claim() {
            let (renewals, renewer) = (Arc::clone(self), Arc::clone(trips));
            trips.tasks().spawn(async move { renewals.run(&renewer, claim).await });
        }
    }

    async fn run(self: &Arc<Self>, trips: &Arc<Trips>, claim: Claim) {
        while let Some(next) = self.next() {
            sleep_until(next).await;
            let due = self.take_due(Instant::now());
            join_all(due.into_iter().map(|renewal| self.renew(renewal, trips))).await;
        }
        drop(claim);
        // For a lock that was added between the last look and the end of the claim.
        if self.next().is_some() {
            self.run_in_background(trips);
        }
    }

    fn next(&self) -> Option<Instant> {
        lock(&self.locks).iter().map(|renewal| renewal.next).min()
    }

    /// Returns the locks to renew now, and drops those that were renewed for long enough.
    fn take_due(&self, now: Instant) -> Vec<Renewal> {
        let mut locks = lock(&self.locks);
        locks.retain(|renewal| renewal.until > now);
        locks.iter().filter(|renewal| renewal.next <= now).cloned().collect()
    }

    async fn renew(&self, renewal: Renewal, trips: &Arc<Trips>) {
        let deadline = trips.deadline(self.limit);
        let operation = renewal.place.renew(&renewal.owner, self.lease_millis());
        let renewed = trips.run(operation, deadline, |value| reply::flag(&value)).await;
        let pause = if renewed.is_ok() { self.lease / 3 } else { self.lease / 10 };
        if matches!(renewed, Ok(false)) {
            self.end(&renewal.owner);
        }
        let next = Instant::now() + pause;
        let mut locks = lock(&self.locks);
        for lock in locks.iter_mut().filter(|lock| lock.owner == renewal.owner) {
            lock.next = next;
        }
    }
}

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{group::Place, reply};
use crate::connection::Trips;

/// A lock that this process may hold without knowing, because the reply did not come.
///
/// Dropped, the lock is deleted in the background, so that the callers of other processes do not
/// wait for its lease.
pub(super) struct Unconfirmed {
    pub(super) place: Option<Place>,
    pub(super) owner: [u8; 16],
    pub(super) trips: Arc<Trips>,
    pub(super) limit: Duration,
    pub(super) lease: Duration,
}

impl Unconfirmed {
    /// The reply came: it says whether the lock is held.
    pub(super) fn confirm(mut self) {
        self.place = None;
    }
}

impl Drop for Unconfirmed {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let (trips, owner) = (Arc::clone(&self.trips), self.owner);
        let (limit, lease) = (self.limit, self.lease);
        self.trips.tasks().spawn(async move { release(&trips, &place, owner, limit, lease).await });
    }
}

async fn release(
    trips: &Arc<Trips>,
    place: &Place,
    owner: [u8; 16],
    limit: Duration,
    lease: Duration,
) {
    let end = Instant::now() + lease;
    while Instant::now() < end {
        let operation = place.finish(&[0; 16], &owner, ("abandon", 0, &[]));
        let released = trips.run(operation, trips.deadline(limit), |value| reply::finished(&value));
        match released.await {
            Err(failure) if failure.is_away() => trips.connected_within(PAUSE).await,
            _ => return,
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);

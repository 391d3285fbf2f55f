//! Values and locks, by which processes share a cache and make a call once.

mod epoch;
mod group;
mod owed;
mod release;
mod renewals;
mod reply;
mod scripts;
mod store;

use std::{fmt, sync::Arc, time::Duration};

use self::{
    epoch::Epoch,
    owed::{Owed, Purse},
    renewals::Renewals,
};
use crate::{connection::Connection, names::Names};

/// The values and locks that processes share. Clones share the connection.
///
/// A lock ends after a [lease](Self::lease), which a task renews. The promise is one leader per
/// lease, and not mutual exclusion.
#[derive(Clone)]
pub struct RedisFlights {
    connection: Connection,
    owed: Arc<Owed>,
    purse: Purse,
    renewals: Arc<Renewals>,
}

/// What all flights of a client know about the store.
#[derive(Clone, Debug)]
pub(crate) struct Knowledge {
    epoch: Arc<Epoch>,
    owed: Arc<Owed>,
}

impl Knowledge {
    pub(crate) fn new(names: &Names) -> Self {
        Self { epoch: Arc::new(Epoch::new(names)), owed: Arc::default() }
    }
}

impl RedisFlights {
    pub(crate) fn new(
        connection: Connection,
        names: Names,
        knowledge: Knowledge,
        limit: Duration,
    ) -> Self {
        let trips = Arc::clone(connection.trips());
        trips.hints().want();
        let purse = Purse { trips, names, epoch: knowledge.epoch, limit };
        let renewals = Arc::new(Renewals::new(DEFAULT_LEASE, DEFAULT_RENEWAL, limit));
        Self { connection, owed: knowledge.owed, purse, renewals }
    }

    /// Sets the lease of a lock. Default: 3 s. At least 10 ms, at most 1 hour.
    ///
    /// If a leader dies, the others wait for at most the lease.
    pub fn lease(mut self, lease: Duration) -> Self {
        let lease = lease.clamp(SHORTEST_LEASE, LONGEST_LEASE);
        self.renewals = Arc::new(Renewals::new(lease, self.renewals.longest, self.purse.limit));
        self
    }

    /// Sets the time for which a task renews a lock, every third of the lease. Default: 30 s, at most
    /// 1 hour. 0: only [`FlightStore::renew`](buttress_state::FlightStore::renew) renews locks.
    ///
    /// The renewal ends when [`FlightStore::finish`](buttress_state::FlightStore::finish) is called.
    pub fn renew_for(mut self, longest: Duration) -> Self {
        let longest = longest.min(LONGEST_LEASE);
        self.renewals = Arc::new(Renewals::new(self.renewals.lease, longest, self.purse.limit));
        self
    }
}

impl fmt::Debug for RedisFlights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFlights")
            .field("namespace", &self.purse.names)
            .field("time_limit", &self.purse.limit)
            .field("lease", &self.renewals.lease)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

const DEFAULT_LEASE: Duration = Duration::from_secs(3);
const SHORTEST_LEASE: Duration = Duration::from_millis(10);
const LONGEST_LEASE: Duration = Duration::from_secs(3600);
const DEFAULT_RENEWAL: Duration = Duration::from_secs(30);

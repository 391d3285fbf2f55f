use std::{pin::pin, sync::Arc, time::Duration};

use buttress_state::{Begun, Ending, Finished, FlightStore, Slot, StoreError, Token};
use futures_util::future::select;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};

use super::{
    RedisFlights,
    group::{Group, Place, group_id},
    owed::{Owed, Purse},
    release::Unconfirmed,
    reply,
};
use crate::{connection::Failure, names::Tag, random::random_bits};

impl FlightStore for RedisFlights {
    async fn begin(
        &self,
        slot: Slot<'_>,
        newer_than: Option<[u8; 16]>,
    ) -> Result<Begun, StoreError> {
        let id = group_id(slot.group);
        if self.owed.holds(id) {
            self.owed.pay_in_background(&self.purse);
            return Err(Failure::NotConnected.into());
        }
        let deadline = self.purse.trips.deadline(self.purse.limit);
        let place = self.place(slot, id, deadline).await?;
        let owner = random_bits();
        let operation = place.begin(&owner, self.renewals.lease_millis(), newer_than);
        let unconfirmed = self.unconfirmed(&place, owner);
        let read = |value| reply::begun(value, owner);
        let begun = self.purse.trips.run(operation, deadline, read).await;
        match &begun {
            Err(Failure::Timeout | Failure::Broken(_) | Failure::Corrupt) => drop(unconfirmed),
            _ => unconfirmed.confirm(),
        }
        let begun = begun?;
        if matches!(begun, Begun::Lead(_)) {
            self.renewals.add(place, owner, &self.purse.trips);
        }
        // An invalidation that began meanwhile may be unknown to the store.
        if self.owed.holds(id) && matches!(begun, Begun::Hit { .. }) {
            return Err(Failure::NotConnected.into());
        }
        Ok(begun)
    }

    async fn renew(&self, slot: Slot<'_>, token: &Token) -> Result<bool, StoreError> {
        let deadline = self.purse.trips.deadline(self.purse.limit);
        let place = self.known_place(slot, deadline).await?;
        let operation = place.renew(&token.owner, self.renewals.lease_millis());
        let renewed = self.purse.trips.run(operation, deadline, |value| reply::flag(&value));
        Ok(renewed.await?)
    }

    async fn finish(
        &self,
        slot: Slot<'_>,
        token: &Token,
        ending: Ending,
    ) -> Result<Finished, StoreError> {
        self.renewals.end(&token.owner);
        let deadline = self.purse.trips.deadline(self.purse.limit);
        let place = self.known_place(slot, deadline).await?;
        let (what, ttl, bytes) = match &ending {
            Ending::Value { bytes, ttl, .. } => ("value", *ttl, &**bytes),
            Ending::Abandon => ("abandon", Duration::ZERO, &[][..]),
            _ => ("unshared", UNSHARED_FOR, &[][..]),
        };
        let millis = ttl.min(LONGEST_TTL).as_millis().max(1);
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let operation = place.finish(&token.generation, &token.owner, (what, millis, bytes));
        let finished = self.purse.trips.run(operation, deadline, |value| reply::finished(&value));
        Ok(finished.await?)
    }

    async fn invalidate(&self, group: &[u8]) -> Result<(), StoreError> {
        let id = group_id(group);
        let owing = Owing::new(&self.owed, &self.purse, Some(id));
        self.purse.invalidate(id).await?;
        owing.settle();
        Ok(())
    }

    async fn clear(&self) -> Result<(), StoreError> {
        let owing = Owing::new(&self.owed, &self.purse, None);
        let deadline = self.purse.trips.deadline(self.purse.limit);
        self.purse.epoch.change(&self.purse.trips, deadline).await?;
        owing.settle();
        Ok(())
    }

    fn changed(&self, slot: Slot<'_>, until: Instant) -> impl Future<Output = ()> + Send {
        // Listens from now on, and not from the first poll: a caller may begin in between.
        let hint = self.purse.trips.hints().about(group_id(slot.group));
        async move {
            // tokio panics without a runtime.
            if Handle::try_current().is_err() {
                return;
            }
            select(hint, pin!(sleep_until(until))).await;
        }
    }
}

impl RedisFlights {
    async fn place(
        &self,
        slot: Slot<'_>,
        group_id: Tag,
        deadline: Instant,
    ) -> Result<Place, Failure> {
        let epoch = self.purse.epoch.get(&self.purse.trips, deadline).await?;
        let names = &self.purse.names;
        Ok(Group::new(names, &epoch, group_id).place(names, slot))
    }

    /// Returns the names of a slot in the epoch that is known, however long ago it was read. In an
    /// older epoch nothing is found, and what is stored there is not read.
    async fn known_place(&self, slot: Slot<'_>, deadline: Instant) -> Result<Place, Failure> {
        let id = group_id(slot.group);
        match self.purse.epoch.known() {
            Some(epoch) => {
                let names = &self.purse.names;
                Ok(Group::new(names, &epoch, id).place(names, slot))
            }
            None => self.place(slot, id, deadline).await,
        }
    }

    fn unconfirmed(&self, place: &Place, owner: [u8; 16]) -> Unconfirmed {
        Unconfirmed {
            place: Some(place.clone()),
            owner,
            trips: Arc::clone(&self.purse.trips),
            limit: self.purse.limit,
            lease: self.renewals.lease,
        }
    }
}

/// An invalidation that is owed if it fails, or if its caller leaves.
struct Owing<'a> {
    owed: &'a Arc<Owed>,
    purse: &'a Purse,
    group_id: Option<Tag>,
    is_settled: bool,
}

impl<'a> Owing<'a> {
    const fn new(owed: &'a Arc<Owed>, purse: &'a Purse, group_id: Option<Tag>) -> Self {
        Self { owed, purse, group_id, is_settled: false }
    }

    fn settle(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Owing<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.owed.add(self.group_id, self.purse);
        }
    }
}

const UNSHARED_FOR: Duration = Duration::from_secs(1);
const LONGEST_TTL: Duration = Duration::from_secs(24 * 3600);

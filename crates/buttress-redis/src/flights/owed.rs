use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_state::sync::lock;

use super::{epoch::Epoch, group::Group, reply};
use crate::{
    connection::{Claim, Failure, IsRunning, Trips},
    names::{Names, Tag},
};

/// Invalidations that the store has not confirmed.
///
/// Until it has, this process takes nothing of their groups from the store.
#[derive(Debug, Default)]
pub(super) struct Owed {
    groups: Mutex<Groups>,
    is_paying: IsRunning,
}

#[derive(Debug, Default)]
struct Groups {
    /// Counts what was added. A payment that began before an addition does not pay for it.
    additions: u64,
    /// All groups: the epoch must change.
    all: Option<u64>,
    some: HashMap<Tag, u64>,
}

/// What a debt is paid with.
#[derive(Clone, Debug)]
pub(super) struct Purse {
    pub(super) trips: Arc<Trips>,
    pub(super) names: Names,
    pub(super) epoch: Arc<Epoch>,
    pub(super) limit: Duration,
}

impl Owed {
    pub(super) fn holds(&self, group_id: Tag) -> bool {
        let groups = lock(&self.groups);
        groups.all.is_some() || groups.some.contains_key(&group_id)
    }

    /// Adds a group. `None`: all groups.
    pub(super) fn add(self: &Arc<Self>, group_id: Option<Tag>, purse: &Purse) {
        {
            let mut groups = lock(&self.groups);
            groups.additions += 1;
            let number = groups.additions;
            match group_id {
                Some(id) if groups.all.is_none() && groups.some.len() < MOST_GROUPS => {
                    groups.some.insert(id, number);
                }
                _ => {
                    groups.all = Some(number);
                    groups.some = HashMap::new();
                }
            }
        }
        self.pay_in_background(purse);
    }

    /// Starts the task that pays, unless the task runs or nothing is owed.
    pub(super) fn pay_in_background(self: &Arc<Self>, purse: &Purse) {
        if self.is_empty() || self.is_paying.get() {
            return;
        }
        if let Some(claim) = self.is_paying.claim() {
            let (owed, payer) = (Arc::clone(self), purse.clone());
            purse.trips.tasks().spawn(async move { owed.pay_all(&payer, claim).await });
        }
    }

    async fn pay_all(self: &Arc<Self>, purse: &Purse, claim: Claim) {
        while !self.is_empty() {
            let mut pause = None;
            // Each is tried, because the server of a group may be away without the others.
            for (group_id, number) in self.all() {
                match purse.pay(group_id).await {
                    Ok(()) => self.paid(group_id, number),
                    Err(failure) if failure.is_away() => pause = pause.max(Some(PAUSE)),
                    Err(_) => pause = Some(LONG_PAUSE),
                }
            }
            if let Some(pause) = pause {
                purse.trips.connected_within(pause).await;
            }
        }
        drop(claim);
        // For an addition that came between the last look and the end of the claim.
        self.pay_in_background(purse);
    }

    /// Returns what is owed, `None` for all groups, with the numbers of the additions.
    fn all(&self) -> Vec<(Option<Tag>, u64)> {
        let groups = lock(&self.groups);
        let some = groups.some.iter().map(|(id, number)| (Some(*id), *number));
        groups.all.map(|number| (None, number)).into_iter().chain(some).collect()
    }

    fn paid(&self, group_id: Option<Tag>, number: u64) {
        let mut groups = lock(&self.groups);
        match group_id {
            None if groups.all == Some(number) => groups.all = None,
            Some(id) if groups.some.get(&id) == Some(&number) => {
                groups.some.remove(&id);
            }
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        let groups = lock(&self.groups);
        groups.all.is_none() && groups.some.is_empty()
    }
}

impl Purse {
    /// Invalidates a group, or all groups for `None`.
    async fn pay(&self, group_id: Option<Tag>) -> Result<(), Failure> {
        match group_id {
            Some(id) => self.invalidate(id).await,
            None => self.epoch.change(&self.trips, self.trips.deadline(self.limit)).await,
        }
    }

    /// Gives the group a new generation.
    pub(super) async fn invalidate(&self, group_id: Tag) -> Result<(), Failure> {
        let deadline = self.trips.deadline(self.limit);
        let epoch = self.epoch.get(&self.trips, deadline).await?;
        let group = Group::new(&self.names, &epoch, group_id);
        let confirmed = self.trips.run(group.invalidate(), deadline, |value| reply::flag(&value));
        confirmed.await.map(drop)
    }
}

const MOST_GROUPS: usize = 1024;
const PAUSE: Duration = Duration::from_millis(100);
/// After a refusal, because each try costs the server a command.
const LONG_PAUSE: Duration = Duration::from_secs(1);

//! Invalidations that the fleet's store has not confirmed yet.

use std::{collections::HashMap, pin::pin, sync::Mutex};

use buttress_state::sync::lock;
use tokio::sync::Notify;

/// What was invalidated in this process, until the store confirms it. Until then this process takes
/// nothing of it from the store.
#[derive(Debug, Default)]
pub(super) struct Owed {
    debts: Mutex<Debts>,
    /// Notified when an attempt has ended.
    attempted: Notify,
}

/// A group, or all groups for `None`.
pub(super) type Group = Option<Box<[u8]>>;

#[derive(Debug, Default)]
struct Debts {
    by_group: HashMap<Group, Debt>,
    /// Numbers the invalidations. A confirmation of an earlier one does not settle a later one.
    invalidations: u64,
    /// How many debts have failed.
    failed: usize,
    /// A task sends the failed ones again.
    is_retrying: bool,
    /// Numbers the attempts that failed.
    attempts: u64,
}

#[derive(Clone, Copy, Debug)]
struct Debt {
    number: u64,
    /// The number of the earliest invalidation that is not confirmed.
    since: u64,
    /// The last attempt failed, so no caller waits for the next.
    has_failed: bool,
    /// The number of that attempt.
    tried: u64,
}

impl Owed {
    /// Returns whether the store has confirmed all invalidations of `group` that came before this
    /// call. Waits for attempts that are in progress, but not for another one after a failure.
    ///
    /// A flight drops what it read during a later invalidation.
    pub(super) async fn is_settled(&self, group: &[u8]) -> bool {
        let last = lock(&self.debts).invalidations;
        loop {
            // Registers before the look, so that no attempt ends in between.
            let mut attempted = pin!(self.attempted.notified());
            attempted.as_mut().enable();
            match lock(&self.debts).state_of(group, last) {
                None => return true,
                Some(true) => return false,
                Some(false) => {}
            }
            attempted.await;
        }
    }

    /// Adds an invalidation, and returns its number.
    pub(super) fn add(&self, group: &Group, has_failed: bool) -> u64 {
        lock(&self.debts).add(group, has_failed)
    }

    /// An attempt of the invalidation with this number has ended.
    pub(super) fn attempted(&self, group: &Group, number: u64, is_paid: bool) {
        lock(&self.debts).attempted(group, number, is_paid);
        self.attempted.notify_waiters();
    }

    /// Returns whether an invalidation has failed.
    pub(super) fn has_failed(&self) -> bool {
        lock(&self.debts).failed > 0
    }

    /// Returns whether a task is to send failed invalidations again. If so, that task runs from now
    /// on.
    pub(super) fn begin_retries(&self) -> bool {
        let mut debts = lock(&self.debts);
        debts.failed > 0 && !std::mem::replace(&mut debts.is_retrying, true)
    }

    /// Returns the next invalidation to send again. If there is none, the task has ended.
    pub(super) fn next_retry(&self) -> Option<(Group, u64)> {
        let mut debts = lock(&self.debts);
        let next = debts.next_failed();
        debts.is_retrying = next.is_some();
        next
    }

    /// The task has ended before its time.
    pub(super) fn abandon_retries(&self) {
        lock(&self.debts).is_retrying = false;
    }
}

impl Debts {
    /// Whether an invalidation of the group has failed. `None`: nothing is owed up to the invalidation
    /// with the number `last`.
    fn state_of(&self, group: &[u8], last: u64) -> Option<bool> {
        if self.by_group.is_empty() {
            return None;
        }
        let all = self.by_group.get(&None);
        let of_group = self.by_group.get(&Some(group.into()));
        let owed = all.into_iter().chain(of_group).filter(|debt| debt.since <= last);
        owed.map(|debt| debt.has_failed).reduce(|a, b| a || b)
    }

    /// Adds an invalidation, and returns its number.
    fn add(&mut self, group: &Group, has_failed: bool) -> u64 {
        self.invalidations += 1;
        let number = self.invalidations;
        let before = self.by_group.get(group).copied();
        let since = before.map_or(number, |debt| debt.since);
        let debt = Debt { number, since, has_failed, tried: 0 };
        self.by_group.insert(group.clone(), debt);
        self.failed -= usize::from(before.is_some_and(|debt| debt.has_failed));
        self.failed += usize::from(has_failed);
        self.bound();
        debt.number
    }

    fn attempted(&mut self, group: &Group, number: u64, is_paid: bool) {
        let Some(debt) = self.by_group.get_mut(group) else { return };
        if debt.number != number {
            // A later one is owed. A confirmation covers all that came before its attempt.
            if is_paid {
                debt.since = debt.since.max(number.saturating_add(1));
            }
            return;
        }
        self.attempts += 1;
        debt.tried = self.attempts;
        let had_failed = std::mem::replace(&mut debt.has_failed, !is_paid);
        self.failed += usize::from(!is_paid);
        self.failed -= usize::from(had_failed);
        if is_paid {
            self.by_group.remove(group);
        }
        self.bound();
    }

    /// Owes everything instead of too many groups.
    fn bound(&mut self) {
        if self.failed > MOST_GROUPS {
            self.by_group.retain(|_, debt| !debt.has_failed);
            self.invalidations += 1;
            let debt = Debt { number: self.invalidations, since: 0, has_failed: true, tried: 0 };
            self.by_group.insert(None, debt);
            self.failed = 1;
        }
    }

    /// The failed invalidation with the oldest attempt. So one that always fails does not hold up others.
    fn next_failed(&self) -> Option<(Group, u64)> {
        let failed = self.by_group.iter().filter(|(_, debt)| debt.has_failed);
        let next = failed.min_by_key(|(_, debt)| debt.tried);
        next.map(|(group, debt)| (group.clone(), debt.number))
    }
}

const MOST_GROUPS: usize = 1024;

use std::{future::poll_fn, sync::Arc, time::Duration};

use buttress_core::{Ambient, Share};
use tokio::time::timeout_at;

use super::{
    Call, Config, Controls, Entry, drive::poll_flight, result::Published, typed_state::CallFlight,
};
use crate::{
    cache::CachePolicy,
    flight::{Membership, WaitEnd},
};

/// A background refresh of an entry. Dropping it ends its claim, and the next refresh of the same entry waits
/// for the backoff.
///
/// Also after a success: the claim then serves a caller that still holds the entry. If the newer entry cannot
/// be written, the old entry stays, and is refreshed again after the backoff.
pub(crate) struct Refresh<C: Call> {
    config: Config<C>,
    cache: Arc<Controls<C>>,
    entry: Entry<C>,
    /// When the next refresh may begin.
    next: NextRefresh,
}

/// When the next refresh of an entry may begin.
enum NextRefresh {
    /// After the backoff.
    Backoff,
    /// At once, because this refresh has not begun.
    AtOnce,
    /// After this time, because another process refreshes the entry.
    After(Duration),
}

impl<C: Call> Refresh<C> {
    pub(crate) const fn new(config: Config<C>, cache: Arc<Controls<C>>, entry: Entry<C>) -> Self {
        Self { config, cache, entry, next: NextRefresh::Backoff }
    }

    /// Ends the refresh before it has begun.
    pub(crate) fn cancel(mut self) {
        self.next = NextRefresh::AtOnce;
    }

    /// Drives the flight as its only member, until the response is complete or the deadline has passed. The
    /// only task that this crate spawns.
    pub(crate) async fn run(mut self, membership: Membership<CallFlight<C>>, ambient: Ambient) {
        let ended = self.end(&membership);
        match ambient.deadline {
            // A refresh that has run out of time is dropped with its flight.
            Some(deadline) => drop(timeout_at(deadline.instant(), ended).await),
            None => ended.await,
        }
        if let Some(Published::Busy(time)) = published(&membership) {
            self.next = NextRefresh::After(*time);
        }
        // The claim ends before `leave` removes the flight, so a call that finds no flight finds the
        // backoff. In the other order, the entry would seem to be refreshed while no flight of the key is
        // in progress.
        drop(self);
        drop(membership);
    }

    /// Ends when there is a result, and its response is complete.
    async fn end(&self, membership: &Membership<CallFlight<C>>) {
        let Some((flight, member)) = membership.flight() else { return };
        // A follower may have driven the flight to its end before this task ran.
        if flight.result().is_none() {
            let config = &self.config;
            if let WaitEnd::Panicked(payload) =
                poll_fn(|cx| poll_flight::<C>(config, flight, member, cx)).await
            {
                // If this resumes the panic, the task ends, and the drop of `Refresh` starts the backoff.
                config.shared.panicked(payload);
            }
        }
        if let Some(Published::Response { mode, shared, .. }) = published(membership) {
            mode.finish(shared).await;
        }
    }
}

fn published<C: Call>(membership: &Membership<CallFlight<C>>) -> Option<&Published<C>> {
    let (flight, _) = membership.flight()?;
    Some(&flight.result()?.published)
}

impl<C: Call> Drop for Refresh<C> {
    fn drop(&mut self) {
        let policy = &self.config.shared.policy;
        match self.next {
            NextRefresh::Backoff => policy.delay_refresh(&self.cache, &self.entry),
            NextRefresh::AtOnce => policy.release_refresh(&self.entry),
            NextRefresh::After(delay) => policy.hold_refresh(&self.entry, delay),
        }
    }
}

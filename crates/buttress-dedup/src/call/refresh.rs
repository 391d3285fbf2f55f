use std::{future::poll_fn, sync::Arc};

use buttress_core::{Ambient, Progress, Share};
use tokio::time::timeout_at;

use super::{
    Call, Config, Controls, Entry, drive::poll_flight, result::Published, typed_state::CallFlight,
};
use crate::{
    cache::{CachePolicy, CacheWrite},
    flight::{Membership, WaitEnd},
};

/// A background refresh of an entry. If it ends without a newer entry, the next refresh waits for the
/// backoff. Dropping it ends its claim, unless a newer entry replaces the old.
pub(crate) struct Refresh<C: Call> {
    config: Config<C>,
    cache: Arc<Controls<C>>,
    entry: Entry<C>,
    end: RefreshEnd,
}

enum RefreshEnd {
    Cancelled,
    Renewed,
    Failed,
}

impl<C: Call> Refresh<C> {
    pub(crate) const fn new(config: Config<C>, cache: Arc<Controls<C>>, entry: Entry<C>) -> Self {
        Self { config, cache, entry, end: RefreshEnd::Failed }
    }

    /// Ends the refresh before it has begun.
    pub(crate) fn cancel(mut self) {
        self.end = RefreshEnd::Cancelled;
    }

    /// Drives the flight as its only member, until the response is complete or the deadline has passed. The
    /// only task that this crate spawns.
    pub(crate) async fn run(mut self, membership: Membership<CallFlight<C>>, ambient: Ambient) {
        let renewed = self.renew(&membership);
        let is_renewed = match ambient.deadline {
            Some(deadline) => timeout_at(deadline.instant(), renewed).await.unwrap_or(false),
            None => renewed.await,
        };
        if is_renewed {
            self.end = RefreshEnd::Renewed;
        }
        // The claim ends before `leave` removes the flight, so a call that finds no flight finds the
        // backoff. In the other order, the entry would seem to be refreshed while no flight of the key is
        // in progress.
        drop(self);
        drop(membership);
    }

    /// Returns whether there is a newer entry.
    async fn renew(&self, membership: &Membership<CallFlight<C>>) -> bool {
        let Some((flight, member)) = membership.flight() else { return false };
        // A follower may have driven the flight to its end before this task ran.
        if flight.result().is_none() {
            let config = &self.config;
            if let WaitEnd::Panicked(payload) =
                poll_fn(|cx| poll_flight::<C>(config, flight, member, cx)).await
            {
                // If this resumes the panic, the task ends, and the drop of `Refresh` counts a failure.
                config.shared.panicked(payload);
            }
        }
        match flight.result().map(|result| &result.published) {
            Some(Published::Response { mode, shared, writer }) => {
                mode.finish(shared).await;
                writer.will_write() && mode.progress(shared) == Progress::Complete
            }
            Some(Published::CachedError(..)) => true,
            // From a store, or the old entry again in place of a failure.
            Some(Published::Cached(entry)) => !Arc::ptr_eq(entry, &self.entry),
            _ => false,
        }
    }
}

impl<C: Call> Drop for Refresh<C> {
    fn drop(&mut self) {
        let policy = &self.config.shared.policy;
        match self.end {
            RefreshEnd::Cancelled => policy.release_refresh(&self.entry),
            // The old entry keeps its claim: a call that still holds the entry must not refresh it again.
            // The claim is of no use to later calls, which find the newer entry.
            RefreshEnd::Renewed => {}
            RefreshEnd::Failed => policy.delay_refresh(&self.cache, &self.entry),
        }
    }
}

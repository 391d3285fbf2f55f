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

/// The refresh of a kept answer. Wherever it ends without a newer one, the next has to wait.
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

    /// It does not begin.
    pub(crate) fn cancel(mut self) {
        self.end = RefreshEnd::Cancelled;
    }

    /// Flies for nobody but those who come later, until the answer is whole or the deadline has passed.
    /// The one thing that is spawned.
    pub(crate) async fn run(mut self, membership: Membership<CallFlight<C>>, ambient: Ambient) {
        let renewed = self.renew(&membership);
        let is_renewed = match ambient.deadline {
            Some(deadline) => timeout_at(deadline.instant(), renewed).await.unwrap_or(false),
            None => renewed.await,
        };
        if is_renewed {
            self.end = RefreshEnd::Renewed;
        }
        // Before the flight is left, so that nobody starts another in between.
        drop(self);
        drop(membership);
    }

    /// Whether there is a newer answer.
    async fn renew(&self, membership: &Membership<CallFlight<C>>) -> bool {
        let Some((flight, member)) = membership.flight() else { return false };
        if flight.result().is_none() {
            let config = &self.config;
            if let WaitEnd::Panicked(payload) =
                poll_fn(|cx| poll_flight::<C>(config, flight, member, cx)).await
            {
                config.shared.panicked(payload);
            }
        }
        match flight.result().map(|result| &result.published) {
            Some(Published::Response { mode, shared, writer }) => {
                mode.finish(shared).await;
                writer.will_write() && mode.progress(shared) == Progress::Complete
            }
            Some(Published::CachedError(..)) => true,
            // From a store, or the old one again.
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
            RefreshEnd::Renewed => {}
            RefreshEnd::Failed => policy.delay_refresh(&self.cache, &self.entry),
        }
    }
}

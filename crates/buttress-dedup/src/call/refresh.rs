use std::{future::poll_fn, sync::Arc};

use buttress_core::{Progress, Share, Terms};
use tokio::time::timeout_at;

use super::{FlightIn, KeptIn, ShelfIn, drive::fly, result::ForAll};
use crate::{
    Inner, Policy, Setup,
    cache::Keeper,
    flight::{Flown, Member},
};

/// The refresh of a kept answer. Wherever it ends without a newer one, the next has to wait.
pub(crate) struct Refreshing<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    setup: C,
    shelf: Arc<ShelfIn<S, Req, C>>,
    kept: KeptIn<S, Req, C>,
    fate: Fate,
}

enum Fate {
    CalledOff,
    Renewed,
    Failed,
}

impl<S, Req, C> Refreshing<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    pub(crate) const fn new(
        setup: C,
        shelf: Arc<ShelfIn<S, Req, C>>,
        kept: KeptIn<S, Req, C>,
    ) -> Self {
        Self { setup, shelf, kept, fate: Fate::Failed }
    }

    /// It does not begin.
    pub(crate) fn call_off(mut self) {
        self.fate = Fate::CalledOff;
    }

    /// Flies for nobody but those who come later, until the answer is whole or the deadline has passed.
    /// The one thing that is spawned.
    pub(crate) async fn run(mut self, member: Member<FlightIn<S, Req, C>>, terms: Terms) {
        let renewed = self.renew(&member);
        let is_renewed = match terms.deadline {
            Some(deadline) => timeout_at(deadline.instant(), renewed).await.unwrap_or(false),
            None => renewed.await,
        };
        if is_renewed {
            self.fate = Fate::Renewed;
        }
        // Before the flight is left, so that nobody starts another in between.
        drop(self);
        drop(member);
    }

    /// Whether there is a newer answer.
    async fn renew(&self, member: &Member<FlightIn<S, Req, C>>) -> bool {
        let Some((flight, place)) = member.flight() else { return false };
        if flight.answer().is_none() {
            let setup = &self.setup;
            if let Flown::Panicked(payload) = poll_fn(|cx| fly(setup, flight, place, cx)).await {
                setup.core().shared.panicked(payload);
            }
        }
        match flight.answer().map(|answer| &answer.for_all) {
            Some(ForAll::Response { mode, shared, keeper }) => {
                mode.finish(shared).await;
                keeper.is_kept() && mode.progress(shared) == Progress::Whole
            }
            Some(ForAll::KeptError(..)) => true,
            // From a store, or the old one again.
            Some(ForAll::Kept(kept)) => !Arc::ptr_eq(kept, &self.kept),
            _ => false,
        }
    }
}

impl<S, Req, C> Drop for Refreshing<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    fn drop(&mut self) {
        let policy = &self.setup.core().shared.policy;
        match self.fate {
            Fate::CalledOff => policy.disclaim(&self.kept),
            Fate::Renewed => {}
            Fate::Failed => policy.put_off(&self.shelf, &self.kept),
        }
    }
}

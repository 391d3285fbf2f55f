use std::{future::poll_fn, pin::Pin, sync::Arc, task::Context};

use buttress_core::{Progress, Share, Terms};
use tokio::time::timeout_at;

use crate::{
    Inner, Policy, Setup,
    answer::ForAll,
    flight::Member,
    policy::Keeper,
    run::{panicked, run},
    setup::{FlightIn, KeptIn, KeyIn, ShelfIn},
};

/// Flies for nobody but those who come later, until the answer is whole or the deadline has passed. The
/// one thing that is spawned.
pub(crate) async fn refresh<S, Req, C>(
    setup: C,
    member: Member<FlightIn<S, Req, C>>,
    shelf: Arc<ShelfIn<S, Req, C>>,
    key: KeyIn<S, Req, C>,
    kept: KeptIn<S, Req, C>,
    terms: Terms,
) where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let flown = async {
        let Some((flight, place)) = member.flight() else { return false };
        if flight.answer().is_none() {
            // A panic is everybody's answer, and nobody else's here.
            let step = |work: Pin<&mut _>, cx: &mut Context<'_>| run(&setup, flight, work, cx);
            let _ = poll_fn(|cx| flight.poll(place, cx, step, |work| panicked(&setup, work))).await;
        }
        match flight.answer().map(|answer| &answer.for_all) {
            Some(ForAll::Response { mode, shared, keeper }) => {
                mode.finish(shared).await;
                keeper.is_kept() && mode.progress(shared) == Progress::Whole
            }
            Some(ForAll::KeptError(..)) => true,
            _ => false,
        }
    };
    let flown = match terms.deadline {
        Some(deadline) => timeout_at(deadline.instant(), flown).await.unwrap_or(false),
        None => flown.await,
    };
    drop(member);
    if !flown {
        setup.core().shared.policy.put_off(&shelf, key, &kept);
    }
}

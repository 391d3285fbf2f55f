use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Classify, Deadline, GaveUp, Reason, Share, Verdict};

use crate::{
    Inner, Policy, Setup, ShareError,
    answer::{Answer, ForAll},
    flight::Run,
    landing::is_later,
    policy::{Conclusion, Keeper},
    setup::{AnswerIn, FlightIn, Judged, KeeperIn, OrderIn, WorkIn},
    work::Found,
};

/// Polls a flight's work once, for whoever drives it, and makes the answer of what it came to.
#[inline]
pub(crate) fn run<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    mut work: Pin<&mut WorkIn<S, Req, C>>,
    cx: &mut Context<'_>,
) -> Poll<Run<AnswerIn<S, Req, C>>>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let policy = &setup.core().shared.policy;
    let poll = || work.as_mut().poll(cx, |(order, _), kept| policy.accept(order, kept));
    let (polled, gave_up) = GaveUp::watch(|| catch_unwind(AssertUnwindSafe(poll)));
    let found = match polled {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(found)) => Ok(found),
        Err(payload) => Err(payload),
    };
    let order = work.order();
    let (answer, panic) = match found {
        Ok(Found::Fetched(kept)) => (Answer::new(ForAll::Kept(kept)), None),
        Ok(Found::Made(outcome)) => {
            (Answer { gave_up, ..conclude(setup, flight, order, outcome) }, None)
        }
        Err(payload) => {
            let conclusion = policy.conclude(&setup.core().mode, &order.0, None);
            let for_all = match conclusion {
                Conclusion::Instead(kept) => ForAll::Kept(kept),
                Conclusion::Stands(_) => ForAll::Panicked,
            };
            (Answer::new(for_all), Some(payload))
        }
    };
    Poll::Ready(Run { answer, panic })
}

/// The answer that an outcome makes.
#[inline]
fn conclude<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    (order, judged): &(OrderIn<S, Req, C>, Judged<S, Req, C>),
    outcome: Result<S::Response, S::Error>,
) -> AnswerIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let keeper = match core.shared.policy.conclude(&core.mode, order, Some(outcome.as_ref())) {
        Conclusion::Instead(kept) => return Answer::new(ForAll::Kept(kept)),
        Conclusion::Stands(keeper) => keeper,
    };
    if C::Mode::IS_WHOLE && !C::Policy::KEEPS && flight.withdraw_alone() {
        // Of one who joined and is alone now, it may be the end of the time of whoever has gone.
        let expired = flight.is_orphan() && is_expired(setup, flight, judged, outcome.as_ref());
        return Answer { expired, ..Answer::owned(outcome, ForAll::Again) };
    }
    let expired = is_expired(setup, flight, judged, outcome.as_ref());
    Answer { expired, ..share(setup, outcome, keeper) }
}

fn share<S, Req, C>(
    setup: &C,
    outcome: Result<S::Response, S::Error>,
    keeper: KeeperIn<S, Req, C>,
) -> AnswerIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    match outcome {
        Ok(response) => match core.mode.share(response, &core.shared.settings.allowance) {
            Ok(shared) => Answer::new(ForAll::Response { mode: core.mode.clone(), shared, keeper }),
            Err(response) => {
                let instance = core.shared.settings.origin.name();
                tracing::debug!(name: "dedup.unshared", target: "buttress", instance);
                Answer::owned(Ok(response), ForAll::Apart)
            }
        },
        Err(error) => {
            let for_all = match core.errors.share(&error) {
                Some(copy) if keeper.is_kept() => ForAll::KeptError(Arc::new(copy), keeper),
                Some(copy) => ForAll::Error(copy),
                None => ForAll::Again,
            };
            Answer::owned(Err(error), for_all)
        }
    }
}

/// Whether the outcome is that the first caller's time ran out, while somebody who waits has more.
fn is_expired<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    judged: &Judged<S, Req, C>,
    outcome: Result<&S::Response, &S::Error>,
) -> bool
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let launched = flight.launched.deadline;
    if !is_later(flight.terms().deadline, launched) {
        return false;
    }
    let verdict = Deadline::with(launched, || setup.core().mode.classify(judged, outcome));
    let is_over = |reason| reason == Reason::DeadlineExceeded;
    match verdict {
        Verdict::Expired => true,
        Verdict::Rejected { reason, .. } => is_over(reason),
        _ => false,
    }
}

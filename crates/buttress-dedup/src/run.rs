use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Deadline, GaveUp, Reason, Share, Verdict};

use crate::{
    Inner, Policy, Setup, ShareError,
    answer::{Answer, ForAll},
    flight::Run,
    landing::{can_restore, is_later},
    policy::{Conclusion, Keeper},
    setup::{AnswerIn, Err, FlightIn, Judged, KeeperIn, KeptIn, Res, WorkIn},
    work::Found,
};

/// Polls a flight's work once, for whoever drives it, and makes the answer of what it came to.
#[inline]
pub(crate) fn run<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    mut work: Pin<&mut WorkIn<S, Req, C>>,
    cx: &mut Context<'_>,
) -> Poll<RunIn<S, Req, C>>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let policy = &core.shared.policy;
    let accept = |(order, _): &_, kept: &_| policy.accept(order, kept) && can_restore(setup, kept);
    let (polled, gave_up) = GaveUp::watch(|| work.as_mut().poll(cx, accept));
    let outcome = match ready!(polled) {
        Found::Made(outcome) => outcome,
        Found::Fetched(kept) => return Poll::Ready(Run::Answer(Answer::new(ForAll::Kept(kept)))),
    };
    let (order, judged) = work.order();
    let keeper = match policy.conclude(&core.mode, order, Some(outcome.as_ref())) {
        Conclusion::Stands(keeper) => keeper,
        Conclusion::Instead(kept) => return Poll::Ready(Run::Answer(spare(setup, kept))),
    };
    if C::Mode::IS_WHOLE && !C::Policy::KEEPS && flight.withdraw_alone() {
        // Of one who joined and is alone now, it may be the end of the time of whoever has gone.
        if flight.is_orphan() && is_expired(setup, flight, judged, outcome.as_ref()) {
            let answer = Answer::owned(outcome, ForAll::Again);
            return Poll::Ready(Run::Answer(Answer { gave_up, expired: true, ..answer }));
        }
        if gave_up {
            GaveUp::mark();
        }
        return Poll::Ready(Run::Own(outcome));
    }
    let expired = is_expired(setup, flight, judged, outcome.as_ref());
    if expired {
        // Or whoever goes again would join it again, for as long as its body is on its way.
        flight.withdraw();
    }
    Poll::Ready(Run::Answer(Answer { gave_up, expired, ..share(setup, outcome, keeper) }))
}

/// What there is to say when the work has panicked.
#[cold]
pub(crate) fn panicked<S, Req, C>(
    setup: &C,
    work: Pin<&mut WorkIn<S, Req, C>>,
) -> AnswerIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    match core.shared.policy.conclude(&core.mode, &work.order().0, None) {
        Conclusion::Instead(kept) => spare(setup, kept),
        Conclusion::Stands(_) => Answer::new(ForAll::Panicked),
    }
}

pub(crate) type RunIn<S, Req, C> = Run<AnswerIn<S, Req, C>, Result<Res<S, Req>, Err<S, Req>>>;

/// A kept answer in place of a failure.
fn spare<S, Req, C>(setup: &C, kept: KeptIn<S, Req, C>) -> AnswerIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let instance = setup.core().shared.settings.origin.name();
    tracing::debug!(name: "dedup.spared", target: "buttress", instance);
    Answer::new(ForAll::Kept(kept))
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
    if launched.is_none() || !is_later(flight.terms().deadline, launched) {
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

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Deadline, Place, Reason, Share, Verdict};

use super::{
    AnswerIn, Err, FlightIn, InfoIn, Judged, KeeperIn, KeptIn, Res, WorkIn,
    outcome::{can_restore, is_later},
    result::{Answer, ForAll},
    work::{Found, Work},
};
use crate::{
    Inner, Policy, Setup, ShareError,
    cache::{Conclusion, Keeper},
    flight::{Flown, Run},
    marks::Marks,
};

/// Waits for a flight's end, and drives its work where that is this member's turn.
#[inline]
pub(crate) fn fly<S, Req, C>(
    setup: &C,
    flight: &Arc<FlightIn<S, Req, C>>,
    place: Place,
    cx: &mut Context<'_>,
) -> Poll<Flown<EndIn<S, Req, C>>>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let run = |work: Pin<&mut _>, cx: &mut Context<'_>| run(setup, flight, work, cx);
    flight.poll(place, cx, run, |end| share(setup, flight, end), |work| panicked(setup, work))
}

/// Polls a flight's work once, for whoever drives it, and makes the answer of what it came to.
#[inline]
fn run<S, Req, C>(
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
    let accept = |(order, ..): &InfoIn<S, Req, C>, kept: &_| {
        policy.accept(order, kept) && can_restore(setup, kept)
    };
    let doubt = |(order, ..): &InfoIn<S, Req, C>, is_late| policy.doubt(order, is_late);
    let (polled, marks) = Marks::watch(|| work.as_mut().poll(cx, accept, doubt));
    if flight.launch.terms.deadline.is_some() {
        flight.hear();
    }
    let outcome = match ready!(polled) {
        Found::Made(outcome) => outcome,
        Found::Fetched(kept) => return Poll::Ready(Run::Answer(Answer::new(ForAll::Kept(kept)))),
    };
    let Some((order, judged, changes)) = work.order() else { unreachable!("it ends once") };
    if let Some(subject) = changes
        && core.mode.classify(&judged, outcome.as_ref()) == Verdict::Success
    {
        core.shared.changed(subject);
    }
    let keeper = match policy.conclude(&core.mode, &order, Some(outcome.as_ref())) {
        Conclusion::Stands(keeper) => keeper,
        Conclusion::Instead(kept) => return Poll::Ready(Run::Answer(spare(setup, kept))),
    };
    let is_for_others_to_spare = C::Policy::KEEPS
        && policy.is_for_others_to_spare(&core.mode, &order, Some(outcome.as_ref()));
    let end = End { outcome, marks, judged, keeper, is_for_others_to_spare };
    if C::Mode::IS_WHOLE && !C::Policy::KEEPS {
        return Poll::Ready(Run::Own(end));
    }
    Poll::Ready(Run::Answer(share(setup, flight, end)))
}

/// How the work ended.
pub(crate) struct End<O, J, Kp> {
    pub(crate) outcome: O,
    pub(crate) marks: Marks,
    judged: J,
    keeper: Kp,
    is_for_others_to_spare: bool,
}

pub(crate) type EndIn<S, Req, C> =
    End<Result<Res<S, Req>, Err<S, Req>>, Judged<S, Req, C>, KeeperIn<S, Req, C>>;

/// Whether the end is the outcome of a member that is alone now.
///
/// If that member joined, it may be the end of the time of whoever has gone, while there is more of its
/// own.
#[inline]
pub(crate) fn is_own<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    end: &EndIn<S, Req, C>,
) -> bool
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    if !flight.is_orphan() {
        return true;
    }
    // To judge an outcome is to run the user's code.
    let is_expired = || is_expired(setup, flight, Deadline::current(), end);
    !catch_unwind(AssertUnwindSafe(is_expired)).unwrap_or_else(|payload| {
        setup.core().shared.panicked(payload);
        false
    })
}

/// What an end is for everybody who waits.
fn share<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    end: EndIn<S, Req, C>,
) -> AnswerIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let expired = is_expired(setup, flight, flight.terms().deadline, &end);
    if expired {
        // Or whoever goes again would join it again, for as long as its body is on its way.
        flight.withdraw();
    }
    let End { outcome, keeper, mut marks, is_for_others_to_spare, .. } = end;
    if expired {
        // Of a flight further out this one is the work.
        marks.enforce(flight.launch.terms.deadline);
    }
    let answer = answer(setup, outcome, keeper);
    if !C::Mode::IS_WHOLE
        && let ForAll::Response { mode, shared, .. } = &answer.for_all
    {
        // Before it is published, and so before anybody is given a response.
        mode.expect(shared, flight.members());
    }
    Answer { marks, expired, is_for_others_to_spare, ..answer }
}

/// What there is to say when the work has panicked.
#[cold]
fn panicked<S, Req, C>(setup: &C, work: Option<Pin<&mut WorkIn<S, Req, C>>>) -> AnswerIn<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let Some((order, ..)) = work.and_then(Work::order) else {
        return Answer::new(ForAll::Panicked);
    };
    match core.shared.policy.conclude(&core.mode, &order, None) {
        Conclusion::Instead(kept) => spare(setup, kept),
        Conclusion::Stands(_) => {
            let is_for_others_to_spare =
                core.shared.policy.is_for_others_to_spare(&core.mode, &order, None);
            Answer { is_for_others_to_spare, ..Answer::new(ForAll::Panicked) }
        }
    }
}

type RunIn<S, Req, C> = Run<AnswerIn<S, Req, C>, EndIn<S, Req, C>>;

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

fn answer<S, Req, C>(
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

/// Whether it ended because the first caller's time ran out, while somebody has `patience` for longer.
fn is_expired<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    patience: Option<Deadline>,
    end: &EndIn<S, Req, C>,
) -> bool
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let launched = flight.launch.terms.deadline;
    if launched.is_none() || !is_later(patience, launched) {
        return false;
    }
    // A layer inside may go by what was announced of it, which is rounded, or less a margin.
    let launched = Deadline::earliest(launched, flight.announced());
    let is_enforced = end.marks.enforced() >= launched;
    // Whatever the error, also where the mode cannot look into it.
    if end.outcome.is_err() && is_enforced {
        return true;
    }
    let mode = &setup.core().mode;
    let classify = || mode.classify(&end.judged, end.outcome.as_ref());
    match Deadline::with(launched, classify) {
        Verdict::Expired => true,
        Verdict::TimedOut => is_enforced,
        Verdict::Rejected { reason, .. } => reason == Reason::DeadlineExceeded,
        _ => false,
    }
}

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Deadline, MemberId, Reason, Share, Signals, Verdict};

use super::{
    Err, FlightIn, FlightResultIn, InfoIn, Judged, KeeperIn, KeptIn, Res, WorkIn,
    result::{BoxedSignals, FlightResult, Published},
    stage::can_restore,
    work::{Work, WorkOutput},
};
use crate::{
    CachePolicy, Setup, ShareError, SharedService,
    cache::{CacheWrite, Decision},
    flight::{WaitEnd, WorkResult},
};

/// Waits for a flight's end, and drives its work where that is this member's turn.
#[inline]
pub(crate) fn poll_flight<S, Req, C>(
    setup: &C,
    flight: &Arc<FlightIn<S, Req, C>>,
    place: MemberId,
    cx: &mut Context<'_>,
) -> Poll<WaitEnd<WorkEndIn<S, Req, C>>>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let poll_work = |work: Pin<&mut _>, cx: &mut Context<'_>| poll_work(setup, flight, work, cx);
    flight.poll(
        place,
        cx,
        poll_work,
        |end| make_result(setup, flight, end),
        |work| panicked(setup, work),
    )
}

/// Polls a flight's work once, for whoever drives it, and makes the answer of what it came to.
#[inline]
fn poll_work<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    mut work: Pin<&mut WorkIn<S, Req, C>>,
    cx: &mut Context<'_>,
) -> Poll<WorkResultIn<S, Req, C>>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let policy = &core.shared.policy;
    let accept = |(order, ..): &InfoIn<S, Req, C>, kept: &_| {
        policy.accept(order, kept) && can_restore(setup, kept)
    };
    let doubt = |(order, ..): &InfoIn<S, Req, C>, is_late| policy.doubt(order, is_late);
    let (polled, signals) = Signals::watch(|| work.as_mut().poll(cx, accept, doubt));
    if flight.start.terms.deadline.is_some() {
        flight.hear();
    }
    let outcome = match ready!(polled) {
        WorkOutput::Made(outcome) => outcome,
        WorkOutput::Fetched(kept) => {
            return Poll::Ready(WorkResult::Answer(FlightResult::new(Published::Cached(kept))));
        }
    };
    let Some((order, judged, changes)) = work.order() else { unreachable!("it ends once") };
    if let Some(subject) = changes
        && core.mode.classify(&judged, outcome.as_ref()) == Verdict::Success
    {
        core.shared.changed(subject);
    }
    let keeper = match policy.decide(&core.mode, &order, Some(outcome.as_ref())) {
        Decision::Stands(keeper) => keeper,
        Decision::Instead(kept) => {
            return Poll::Ready(WorkResult::Answer(replace_error(setup, kept)));
        }
    };
    let is_for_others_to_spare = C::Policy::CACHES
        && policy.is_for_others_to_spare(&core.mode, &order, Some(outcome.as_ref()));
    let end = WorkEnd {
        outcome,
        signals: BoxedSignals::new(signals),
        judged,
        keeper,
        is_for_others_to_spare,
    };
    if C::Mode::IS_COMPLETE && !C::Policy::CACHES {
        return Poll::Ready(WorkResult::Own(end));
    }
    Poll::Ready(WorkResult::Answer(make_result(setup, flight, end)))
}

/// How the work ended.
pub(crate) struct WorkEnd<O, J, Kp> {
    pub(crate) outcome: O,
    pub(crate) signals: BoxedSignals,
    judged: J,
    keeper: Kp,
    is_for_others_to_spare: bool,
}

pub(crate) type WorkEndIn<S, Req, C> =
    WorkEnd<Result<Res<S, Req>, Err<S, Req>>, Judged<S, Req, C>, KeeperIn<S, Req, C>>;

/// Whether the end is the outcome of a member that is alone now.
///
/// If that member joined, it may be the end of the time of whoever has gone, while there is more of its
/// own.
#[inline]
pub(crate) fn is_outcome_of_remaining_member<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    end: &WorkEndIn<S, Req, C>,
) -> bool
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    if !flight.has_leader_left() {
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
fn make_result<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    end: WorkEndIn<S, Req, C>,
) -> FlightResultIn<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let expired = is_expired(setup, flight, flight.terms().deadline, &end);
    if expired {
        // Or whoever goes again would join it again, for as long as its body is on its way.
        flight.remove_from_table();
    }
    let WorkEnd { outcome, keeper, mut signals, is_for_others_to_spare, .. } = end;
    if expired {
        // Of a flight further out this one is the work.
        signals.add_deadline(flight.start.terms.deadline);
    }
    let result = result(setup, outcome, keeper);
    if !C::Mode::IS_COMPLETE
        && let Published::Response { mode, shared, .. } = &result.published
    {
        // Before it is published, and so before anybody is given a response.
        mode.expect_callers(shared, flight.members());
    }
    FlightResult { signals, expired, is_for_others_to_spare, ..result }
}

/// What there is to say when the work has panicked.
#[cold]
fn panicked<S, Req, C>(
    setup: &C,
    work: Option<Pin<&mut WorkIn<S, Req, C>>>,
) -> FlightResultIn<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let Some((order, ..)) = work.and_then(Work::order) else {
        return FlightResult::new(Published::Panicked);
    };
    match core.shared.policy.decide(&core.mode, &order, None) {
        Decision::Instead(kept) => replace_error(setup, kept),
        Decision::Stands(_) => {
            let is_for_others_to_spare =
                core.shared.policy.is_for_others_to_spare(&core.mode, &order, None);
            FlightResult { is_for_others_to_spare, ..FlightResult::new(Published::Panicked) }
        }
    }
}

type WorkResultIn<S, Req, C> = WorkResult<FlightResultIn<S, Req, C>, WorkEndIn<S, Req, C>>;

/// A kept answer in place of a failure.
fn replace_error<S, Req, C>(setup: &C, kept: KeptIn<S, Req, C>) -> FlightResultIn<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let instance = setup.core().shared.settings.origin.name();
    tracing::debug!(name: "dedup.error_replaced", target: "buttress", instance);
    FlightResult::new(Published::Cached(kept))
}

fn result<S, Req, C>(
    setup: &C,
    outcome: Result<S::Response, S::Error>,
    keeper: KeeperIn<S, Req, C>,
) -> FlightResultIn<S, Req, C>
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    match outcome {
        Ok(response) => match core.mode.share(response, &core.shared.settings.allowance) {
            Ok(shared) => {
                FlightResult::new(Published::Response { mode: core.mode.clone(), shared, keeper })
            }
            Err(response) => {
                let instance = core.shared.settings.origin.name();
                tracing::debug!(name: "dedup.not_shared", target: "buttress", instance);
                FlightResult::owned(Ok(response), Published::Bypass)
            }
        },
        Err(error) => {
            let published = match core.errors.share(&error) {
                Some(copy) if keeper.is_kept() => Published::CachedError(Arc::new(copy), keeper),
                Some(copy) => Published::Error(copy),
                None => Published::Restart,
            };
            FlightResult::owned(Err(error), published)
        }
    }
}

/// Whether it ended because the first caller's time ran out, while somebody has `patience` for longer.
fn is_expired<S, Req, C>(
    setup: &C,
    flight: &FlightIn<S, Req, C>,
    patience: Option<Deadline>,
    end: &WorkEndIn<S, Req, C>,
) -> bool
where
    S: SharedService<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let start_deadline = flight.start.terms.deadline;
    if start_deadline.is_none() || !Deadline::is_later(patience, start_deadline) {
        return false;
    }
    // A layer inside may go by what was announced of it, which is rounded, or less a margin.
    let start_deadline = Deadline::earliest(start_deadline, flight.announced());
    let is_enforced = end.signals.deadline() >= start_deadline;
    // Whatever the error, also where the mode cannot look into it.
    if end.outcome.is_err() && is_enforced {
        return true;
    }
    let mode = &setup.core().mode;
    let classify = || mode.classify(&end.judged, end.outcome.as_ref());
    match Deadline::with(start_deadline, classify) {
        Verdict::Expired => true,
        Verdict::TimedOut => is_enforced,
        Verdict::Rejected { reason, .. } => reason == Reason::DeadlineExceeded,
        _ => false,
    }
}

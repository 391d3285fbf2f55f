use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Deadline, MemberId, Reason, Share, Signals, Verdict};

use super::{
    Call, Config, Entry, VerdictSeed, Writer,
    result::{BoxedSignals, FlightResult, Published},
    stage::can_restore,
    typed_state::CallFlight,
    work::{Work, WorkInfo, WorkOutput},
};
use crate::{
    ShareError,
    cache::{CachePolicy, CacheWrite, Decision},
    flight::{WaitEnd, WorkResult},
};

/// Waits for a flight's end, and drives its work where that is this member's turn.
#[inline]
pub(crate) fn poll_flight<C: Call>(
    config: &Config<C>,
    flight: &Arc<CallFlight<C>>,
    place: MemberId,
    cx: &mut Context<'_>,
) -> Poll<WaitEnd<WorkEnd<C>>> {
    let poll_work =
        |work: Pin<&mut _>, cx: &mut Context<'_>| poll_work::<C>(config, flight, work, cx);
    flight.poll(
        place,
        cx,
        poll_work,
        |end| make_result::<C>(config, flight, end),
        |work| panicked::<C>(config, work),
    )
}

/// Polls a flight's work once, for whoever drives it, and makes the answer of what it came to.
#[inline]
fn poll_work<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    mut work: Pin<&mut Work<C>>,
    cx: &mut Context<'_>,
) -> Poll<WorkResult<FlightResult<C>, WorkEnd<C>>> {
    let policy = &config.shared.policy;
    let accept = |(order, ..): &WorkInfo<C>, kept: &_| {
        policy.accept(order, kept) && can_restore::<C>(config, kept)
    };
    let doubt = |(order, ..): &WorkInfo<C>, is_late| policy.doubt(order, is_late);
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
        && config.mode.classify(&judged, outcome.as_ref()) == Verdict::Success
    {
        config.shared.changed(subject);
    }
    let keeper = match policy.decide(&config.mode, &order, Some(outcome.as_ref())) {
        Decision::Stands(keeper) => keeper,
        Decision::Instead(kept) => {
            return Poll::Ready(WorkResult::Answer(replace_error::<C>(config, kept)));
        }
    };
    let is_for_others_to_spare = C::Cache::CACHES
        && policy.is_for_others_to_spare(&config.mode, &order, Some(outcome.as_ref()));
    let end = WorkEnd {
        outcome,
        signals: BoxedSignals::new(signals),
        judged,
        keeper,
        is_for_others_to_spare,
    };
    if C::Mode::IS_COMPLETE && !C::Cache::CACHES {
        return Poll::Ready(WorkResult::Own(end));
    }
    Poll::Ready(WorkResult::Answer(make_result::<C>(config, flight, end)))
}

/// How the work ended.
pub(crate) struct WorkEnd<C: Call> {
    pub(crate) outcome: Result<C::Response, C::Error>,
    pub(crate) signals: BoxedSignals,
    judged: VerdictSeed<C>,
    keeper: Writer<C>,
    is_for_others_to_spare: bool,
}

/// Whether the end is the outcome of a member that is alone now.
///
/// If that member joined, it may be the end of the time of whoever has gone, while there is more of its
/// own.
#[inline]
pub(crate) fn is_outcome_of_remaining_member<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    end: &WorkEnd<C>,
) -> bool {
    if !flight.has_leader_left() {
        return true;
    }
    // To judge an outcome is to run the user's code.
    let is_expired = || is_expired::<C>(config, flight, Deadline::current(), end);
    !catch_unwind(AssertUnwindSafe(is_expired)).unwrap_or_else(|payload| {
        config.shared.panicked(payload);
        false
    })
}

/// What an end is for everybody who waits.
fn make_result<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    end: WorkEnd<C>,
) -> FlightResult<C> {
    let expired = is_expired::<C>(config, flight, flight.terms().deadline, &end);
    if expired {
        // Or whoever goes again would join it again, for as long as its body is on its way.
        flight.remove_from_table();
    }
    let WorkEnd { outcome, keeper, mut signals, is_for_others_to_spare, .. } = end;
    if expired {
        // Of a flight further out this one is the work.
        signals.add_deadline(flight.start.terms.deadline);
    }
    let result = result::<C>(config, outcome, keeper);
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
fn panicked<C: Call>(config: &Config<C>, work: Option<Pin<&mut Work<C>>>) -> FlightResult<C> {
    let Some((order, ..)) = work.and_then(Work::order) else {
        return FlightResult::new(Published::Panicked);
    };
    match config.shared.policy.decide(&config.mode, &order, None) {
        Decision::Instead(kept) => replace_error::<C>(config, kept),
        Decision::Stands(_) => {
            let is_for_others_to_spare =
                config.shared.policy.is_for_others_to_spare(&config.mode, &order, None);
            FlightResult { is_for_others_to_spare, ..FlightResult::new(Published::Panicked) }
        }
    }
}

/// A kept answer in place of a failure.
fn replace_error<C: Call>(config: &Config<C>, kept: Entry<C>) -> FlightResult<C> {
    let instance = config.shared.settings.origin.name();
    tracing::debug!(name: "dedup.error_replaced", target: "buttress", instance);
    FlightResult::new(Published::Cached(kept))
}

fn result<C: Call>(
    config: &Config<C>,
    outcome: Result<C::Response, C::Error>,
    keeper: Writer<C>,
) -> FlightResult<C> {
    match outcome {
        Ok(response) => match config.mode.share(response, &config.shared.settings.allowance) {
            Ok(shared) => {
                FlightResult::new(Published::Response { mode: config.mode.clone(), shared, keeper })
            }
            Err(response) => {
                let instance = config.shared.settings.origin.name();
                tracing::debug!(name: "dedup.not_shared", target: "buttress", instance);
                FlightResult::owned(Ok(response), Published::Bypass)
            }
        },
        Err(error) => {
            let published = match config.errors.share(&error) {
                Some(copy) if keeper.is_kept() => Published::CachedError(Arc::new(copy), keeper),
                Some(copy) => Published::Error(copy),
                None => Published::Restart,
            };
            FlightResult::owned(Err(error), published)
        }
    }
}

/// Whether it ended because the first caller's time ran out, while somebody has `patience` for longer.
fn is_expired<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    patience: Option<Deadline>,
    end: &WorkEnd<C>,
) -> bool {
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
    let mode = &config.mode;
    let classify = || mode.classify(&end.judged, end.outcome.as_ref());
    match Deadline::with(start_deadline, classify) {
        Verdict::Expired => true,
        Verdict::TimedOut => is_enforced,
        Verdict::Rejected { reason, .. } => reason == Reason::DeadlineExceeded,
        _ => false,
    }
}

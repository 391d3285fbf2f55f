use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Deadline, MemberId, Reason, Share, Signals, Spent, Verdict};
use tokio::time::Instant;

use super::{
    Call, Config, Entry, FetchedOf, VerdictSeed, Writer,
    result::{BoxedSignals, FlightResult, Published},
    stage::can_restore,
    typed_state::CallFlight,
    work::{AnswerOf, Work, WorkInfo, WorkOutput},
};
use crate::{
    ShareError,
    cache::{Answer, CachePolicy, CacheWrite, Decision, EntryFreshness},
    flight::{WaitEnd, WorkResult},
};

/// Waits for the end of a flight, and drives its work while this member is the driver.
#[inline]
pub(crate) fn poll_flight<C: Call>(
    config: &Config<C>,
    flight: &Arc<CallFlight<C>>,
    member: MemberId,
    cx: &mut Context<'_>,
) -> Poll<WaitEnd<WorkEnd<C>>> {
    let poll_work =
        |work: Pin<&mut _>, cx: &mut Context<'_>| poll_work::<C>(config, flight, work, cx);
    flight.poll(
        member,
        cx,
        poll_work,
        |end| make_result::<C>(config, flight, end),
        |work| panicked::<C>(config, work),
    )
}

/// Polls the work of a flight once, for the member that drives it, and makes the result.
#[inline]
fn poll_work<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    mut work: Pin<&mut Work<C>>,
    cx: &mut Context<'_>,
) -> Poll<WorkResult<FlightResult<C>, WorkEnd<C>>> {
    let policy = &config.shared.policy;
    let answer = |info: &mut WorkInfo<C>, fetched, is_calling| {
        answer::<C>(config, flight, info, fetched, is_calling)
    };
    let note_store_speed =
        |(plan, ..): &WorkInfo<C>, is_late| policy.note_store_speed(plan, is_late);
    // Caught here, because any member may drive. `caller_outcome` raises the signals again for each caller.
    let (polled, signals) =
        Signals::watch_raised(|| work.as_mut().poll(cx, answer, note_store_speed));
    if flight.start.ambient.deadline.is_some() {
        // After every poll, because an inner layer announces the deadline when the call reaches that layer.
        // `Flight::poll` has set the ambient values of the flight, which `note_announced` reads.
        flight.note_announced();
    }
    let outcome = match ready!(polled) {
        WorkOutput::Made(outcome) => outcome,
        WorkOutput::Answered(published) => {
            return Poll::Ready(WorkResult::Answer(FlightResult::new(*published)));
        }
    };
    // If code of the user panics from here on, `panicked` finds no plan, and no entry replaces the failure.
    let Some((mut plan, verdict_seed, invalidates)) = work.take_info() else {
        unreachable!("it ends once")
    };
    if let Some(resource) = invalidates
        && config.mode.classify(&verdict_seed, outcome.as_ref()) == Verdict::Success
    {
        // Before `Flight::poll` publishes: a call made after the outcome is known must find no older entry
        // or flight.
        config.shared.invalidate_resource(resource);
    }
    let writer = match policy.decide(&config.mode, &mut plan, Some(outcome.as_ref())) {
        // In every mode, also if the response carries no mark: what stands in for a failure is not cached.
        Decision::Stands(_) if signals.is_some_and(|signals| signals.degraded) => {
            Writer::<C>::NOTHING
        }
        Decision::Stands(writer) => writer,
        Decision::Instead(entry, verdict) => {
            let result =
                replace_error::<C>(config, entry, verdict, signals.unwrap_or_default().spent);
            return Poll::Ready(WorkResult::Answer(result));
        }
    };
    let stale_for_others = if C::Cache::CACHES {
        policy.others_may_serve_stale(&config.mode, &plan, Some(outcome.as_ref()))
    } else {
        None
    };
    let end = WorkEnd {
        outcome,
        signals: BoxedSignals::raised(signals),
        verdict_seed,
        writer,
        stale_for_others,
    };
    // With a cache the result is published even for a single member, because `store_and_remove` writes the
    // published result. A response in progress is published for the callers that may still join.
    if C::Mode::IS_COMPLETE && !C::Cache::CACHES {
        return Poll::Ready(WorkResult::Own(end));
    }
    Poll::Ready(WorkResult::Answer(make_result::<C>(config, flight, end)))
}

/// Decides what follows from the answer of a store.
fn answer<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    (plan, ..): &mut WorkInfo<C>,
    fetched: FetchedOf<C>,
    is_calling: bool,
) -> AnswerOf<C> {
    let policy = &config.shared.policy;
    let can_restore = |entry: &Entry<C>| can_restore::<C>(config, entry);
    let answer = policy.answer(plan, fetched, is_calling, can_restore);
    let Answer::Serve { entry, .. } = &answer else { return answer };
    if config.shared.is_observed() {
        // The service is called all the same.
        config.shared.count_flight_hit(entry.freshness(Instant::now()) != EntryFreshness::Fresh);
        return Answer::Call;
    }
    flight.keep(|| policy.keep(plan, entry));
    answer
}

/// The end of the work, before a result is made of it.
pub(crate) struct WorkEnd<C: Call> {
    pub(crate) outcome: Result<C::Response, C::Error>,
    pub(crate) signals: BoxedSignals,
    verdict_seed: VerdictSeed<C>,
    writer: Writer<C>,
    stale_for_others: Option<Verdict>,
}

/// Whether the end of the work is the outcome of the member that is alone now.
///
/// If that member is a follower and the leader has left, the work may have ended at the leader's deadline
/// although the follower has more time. Then the follower starts again.
#[inline]
pub(crate) fn is_outcome_of_remaining_member<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    end: &WorkEnd<C>,
) -> bool {
    if !flight.has_leader_left() {
        return true;
    }
    // Classification runs code of the user. If that panics, the outcome stands, because the flight has
    // ended and no other member can judge the outcome.
    let is_expired = || is_expired::<C>(config, flight, Deadline::current(), end);
    !catch_unwind(AssertUnwindSafe(is_expired)).unwrap_or_else(|payload| {
        config.shared.panicked(payload);
        false
    })
}

/// Makes the result that all members share.
fn make_result<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    end: WorkEnd<C>,
) -> FlightResult<C> {
    let expired = is_expired::<C>(config, flight, flight.ambient().deadline, &end);
    if expired {
        // Otherwise a follower that starts again would join the same flight, while its body is in progress.
        flight.remove_from_table();
    }
    let WorkEnd { outcome, writer, mut signals, stale_for_others, verdict_seed } = end;
    if expired {
        // An outer flight, whose work this flight is, then knows that the deadline ended the call.
        signals.add_deadline(flight.start.ambient.deadline);
    }
    let result = result::<C>(config, outcome, writer, &verdict_seed);
    FlightResult { signals, expired, stale_for_others, ..result }
}

/// Makes the result of work that has panicked.
#[cold]
fn panicked<C: Call>(config: &Config<C>, work: Option<Pin<&mut Work<C>>>) -> FlightResult<C> {
    // `None` if the panic came after `take_info`, or after `Flight::poll` had emptied the slot.
    let Some((mut plan, ..)) = work.and_then(Work::take_info) else {
        return FlightResult::new(Published::Panicked);
    };
    match config.shared.policy.decide(&config.mode, &mut plan, None) {
        Decision::Instead(entry, verdict) => {
            replace_error::<C>(config, entry, verdict, Spent::default())
        }
        Decision::Stands(_) => {
            let stale_for_others =
                config.shared.policy.others_may_serve_stale(&config.mode, &plan, None);
            FlightResult { stale_for_others, ..FlightResult::new(Published::Panicked) }
        }
    }
}

/// Makes a result of a stale entry, in place of a failure with this verdict.
fn replace_error<C: Call>(
    config: &Config<C>,
    entry: Entry<C>,
    verdict: Verdict,
    spent: Spent,
) -> FlightResult<C> {
    let instance = config.shared.settings.origin.name();
    tracing::debug!(name: "dedup.error_replaced", target: "buttress", instance);
    // The other signals are about the failure, which no caller receives.
    let mut signals = Signals::default();
    signals.spent = spent;
    FlightResult {
        instead_of: Some(verdict),
        signals: BoxedSignals::new(signals),
        ..FlightResult::new(Published::Cached(entry))
    }
}

fn result<C: Call>(
    config: &Config<C>,
    outcome: Result<C::Response, C::Error>,
    writer: Writer<C>,
    verdict_seed: &VerdictSeed<C>,
) -> FlightResult<C> {
    match outcome {
        Ok(response) => match config.mode.share(response, &config.shared.settings.shared_bytes) {
            Ok(shared) => {
                FlightResult::new(Published::Response { mode: config.mode.clone(), shared, writer })
            }
            Err(response) => {
                writer.decline();
                let instance = config.shared.settings.origin.name();
                tracing::debug!(name: "dedup.not_shared", target: "buttress", instance);
                FlightResult::owned(Ok(response), Published::Bypass)
            }
        },
        Err(error) => {
            let published = match config.errors.share(&error) {
                Some(copy) if writer.will_write() => Published::CachedError(Arc::new(copy), writer),
                Some(copy) => Published::Error(copy),
                None => unshared_error::<C>(config, &error, verdict_seed),
            };
            FlightResult::owned(Err(error), published)
        }
    }
}

/// What the followers of an error do that cannot be shared.
///
/// If a later call superseded the flight, they must not call again: a call of theirs would be the latest,
/// and supersede the call that superseded them.
fn unshared_error<C: Call>(
    config: &Config<C>,
    error: &C::Error,
    verdict_seed: &VerdictSeed<C>,
) -> Published<C> {
    match config.mode.classify(verdict_seed, Err(error)) {
        Verdict::Rejected { by, reason: Reason::Superseded, .. } => Published::Superseded(by),
        _ => Published::Restart,
    }
}

/// Whether the work ended at the leader's deadline, although a member has a later deadline `patience`.
fn is_expired<C: Call>(
    config: &Config<C>,
    flight: &CallFlight<C>,
    patience: Option<Deadline>,
    end: &WorkEnd<C>,
) -> bool {
    let start_deadline = flight.start.ambient.deadline;
    if start_deadline.is_none() || !Deadline::is_later(patience, start_deadline) {
        return false;
    }
    // An inner layer may enforce the announced deadline, which is rounded or reduced by a margin.
    let start_deadline = Deadline::earliest(start_deadline, flight.announced());
    let is_enforced = end.signals.deadline() >= start_deadline;
    // Any error counts, because the mode may not be able to classify it.
    if end.outcome.is_err() && is_enforced {
        return true;
    }
    let mode = &config.mode;
    let classify = || mode.classify(&end.verdict_seed, end.outcome.as_ref());
    match Deadline::with(start_deadline, classify) {
        Verdict::Expired => true,
        Verdict::TimedOut => is_enforced,
        Verdict::Rejected { reason, .. } => reason == Reason::DeadlineExceeded,
        _ => false,
    }
}

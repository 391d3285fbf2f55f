mod plan;
mod race;
mod react;
mod tries;
mod verdict;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Deadline, Judge, Replay, Timer};
use buttress_state::ColdBox;
use tokio::time::Instant;
use tower_service::Service;

pub(crate) use self::race::{FirstTry, FirstTryProjection, KeptRequest};
use self::{
    race::{Due, Race},
    verdict::is_win,
};
use crate::{
    WithheldReason,
    settings::{OnFailure, Settings},
    state::CallClock,
};

/// The state of a call beside its first try.
pub(crate) struct HedgedCall<S, Req, M, J>
where
    S: Service<Req>,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    settings: Arc<Settings>,
    mode: M,
    judge: J,
    seed: J::Seed,
    kept: KeptRequest<S, M::Saved>,
    clock: CallClock,
    due: Due,
    /// Fires when the next hedge is due. While a hedge waits for readiness and no try runs, fires at
    /// the end of that wait.
    timer: Timer,
    /// Empty until a hedge is due. Boxed, so that the future of a call that is not hedged has no
    /// room for it.
    race: ColdBox<RaceOf<S, Req>>,
}

type RaceOf<S, Req> = Race<<S as Service<Req>>::Future, Req, OutcomeOf<S, Req>>;

type OutcomeOf<S, Req> = Result<<S as Service<Req>>::Response, <S as Service<Req>>::Error>;

impl<S, Req, M, J> HedgedCall<S, Req, M, J>
where
    S: Service<Req>,
    M: Replay<Req>,
    J: Judge<M, Req, S::Response, S::Error>,
{
    #[inline]
    pub(crate) fn new(
        settings: &Arc<Settings>,
        mode: M,
        judge: J,
        seed: J::Seed,
        kept: KeptRequest<S, M::Saved>,
        clock: CallClock,
    ) -> Self {
        let settings = Arc::clone(settings);
        let due = if matches!(kept, KeptRequest::Released) { Due::Never } else { Due::Unset };
        Self {
            settings,
            mode,
            judge,
            seed,
            kept,
            clock,
            due,
            timer: Timer::new(),
            race: ColdBox::NOTHING,
        }
    }

    /// Whether the call returns the outcome of the first try as soon as there is one.
    #[inline]
    pub(crate) fn returns_first(&self) -> bool {
        self.race.is_empty() && self.settings.on_failure == OnFailure::Return
    }

    /// Ready once a hedge is due. Must be polled after the tries, so that an outcome at the same
    /// instant wins.
    #[inline]
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.due == Due::Unset {
            self.due = self.first_due();
        }
        match self.due {
            Due::At(deadline) => self.timer.poll(cx, deadline, &self.settings.state.timers),
            Due::Now => Poll::Ready(()),
            Due::Never | Due::Unset => Poll::Pending,
        }
    }

    /// Learns from a call that ended without a hedge.
    #[inline]
    pub(crate) fn learn_alone(&self, outcome: Result<&S::Response, &S::Error>) {
        if self.clock.is_sample && is_win(self.judge.judge(&self.mode, &self.seed, outcome)) {
            self.settings.state.learn(self.clock);
        }
    }

    /// Returns when the first hedge is due, once the call waits for the first time.
    fn first_due(&mut self) -> Due {
        let Some(delay) = self.settings.state.delay() else { return Due::Never };
        if let KeptRequest::NotKept(reason) = self.kept {
            self.withhold(reason);
            return Due::Never;
        }
        let since = *self.clock.since.get_or_insert_with(Instant::now);
        if delay.is_zero() {
            return Due::Now;
        }
        self.due_in_time(Deadline::from_start(since, delay))
    }

    /// Returns the time of a hedge, unless the deadline of the call comes first.
    fn due_in_time(&mut self, due: Deadline) -> Due {
        if self.until().is_none_or(|until| due < until) {
            return Due::At(due);
        }
        // A failure can still make a hedge before the deadline.
        if self.settings.on_failure == OnFailure::Return {
            self.withhold(WithheldReason::Deadline);
        }
        Due::Never
    }

    /// Returns the tries of this call.
    fn race(&mut self) -> &mut RaceOf<S, Req> {
        self.race.get_or_insert_with(Race::new)
    }

    /// Ends the hedging of this call for a `reason`.
    fn withhold(&mut self, reason: WithheldReason) {
        self.settings.withhold(reason);
        self.stop_hedging();
    }

    /// Ends the hedging of this call. The tries under way go on.
    fn stop_hedging(&mut self) {
        self.due = Due::Never;
        self.timer = Timer::new();
        // Drops the hedge that waits, which refunds its payment, and the place of its service in a
        // queue. Without the copy of the request, a body is recorded no further.
        self.kept = KeptRequest::Released;
        if let Some(race) = self.race.get() {
            race.waiting = None;
        }
    }

    /// Returns the deadline for the next response head.
    fn until(&self) -> Option<Deadline> {
        Deadline::earliest(Deadline::current(), self.saved_deadline())
    }

    /// Returns the deadline that came with the request.
    fn saved_deadline(&self) -> Option<Deadline> {
        match &self.kept {
            KeptRequest::Kept(_, saved) => self.mode.saved_deadline(saved),
            _ => None,
        }
    }
}

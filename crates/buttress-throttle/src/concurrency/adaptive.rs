use std::{fmt, mem, num::NonZeroU32, time::Duration};

use buttress_control::{Adapt, Nanos, Sample, near_limit};
use buttress_core::{Deadline, Upload, UploadWait, Verdict};

use super::regulate::Regulate;
use crate::{
    limit::{LimitClock, sealed},
    sync::{Mutex, lock},
};

/// The limit is what a law makes of the calls that met it.
#[doc(alias("adaptive concurrency", "concurrency limits"))]
pub struct Adaptive<L> {
    state: Mutex<LawState<L>>,
    clock: LimitClock,
}

#[derive(Debug)]
struct LawState<L> {
    law: L,
    /// The law as it was given.
    first: L,
    /// What it said last.
    limit: u32,
    /// When it last learned something.
    at: Option<Nanos>,
    /// How many more calls were given up than answered lately, at most [`MOST_LEAVE`].
    leaving: u32,
    /// What the latest answer took, in nanoseconds; 0 before the first.
    took: u64,
}

impl<L: Adapt> Adaptive<L> {
    pub(crate) fn new(law: L) -> Self {
        let state = LawState {
            limit: law.limit(),
            law: law.clone(),
            first: law,
            at: None,
            leaving: 0,
            took: 0,
        };
        Self { state: Mutex::new(state), clock: LimitClock::new() }
    }

    #[inline(never)]
    fn learn(
        &self,
        start: &CallStart,
        verdict: Option<Verdict>,
        store: impl FnOnce(u32) -> bool,
    ) -> bool {
        let now = self.clock.now();
        let Some(told) = start.tells(verdict, now) else { return false };
        let waited = match &start.upload {
            None => 0,
            Some(upload) => match waited_for(upload, verdict) {
                Some(waited) => waited,
                None => return false,
            },
        };
        let at = Nanos::new(start.at.get().saturating_add(waited));
        let took = now.get().saturating_sub(at.get());
        let rtt = Duration::from_nanos(took);
        let in_flight = start.in_flight.get();
        let mut state = lock(&self.state);
        let mut dropped = false;
        if told == Told::Answer {
            state.leaving = state.leaving.saturating_sub(1);
            state.took = took;
        } else {
            match state.fail(told, rtt) {
                Some(fails) => dropped = fails,
                None => return false,
            }
        }
        let sample = Sample::new(at, rtt, in_flight, dropped);
        state.at = Some(now);
        // A law of the user's may say 0, from which nothing could recover.
        let limit = state.law.learn(sample).max(1);
        let before = mem::replace(&mut state.limit, limit);
        // Under the lock, or an older limit could come after a newer one.
        limit != before && store(limit)
    }
}

impl<L: Adapt> LawState<L> {
    /// Whether a call without an answer counts as dropped; `None` if it says nothing.
    ///
    /// One that was given up would have taken longer. That is news only if a call without load takes less. If most
    /// callers leave, they leave after their own patience, however long the queue. Then what they took says
    /// nothing of the limit, and that they leave says that it is too high.
    #[cold]
    fn fail(&mut self, told: Told, rtt: Duration) -> Option<bool> {
        if told == Told::Overload {
            return Some(true);
        }
        let known = self.law.unloaded_rtt();
        // Zero before the first answer.
        if rtt <= known.unwrap_or(Duration::from_nanos(self.took)) {
            return None;
        }
        self.leaving = self.leaving.saturating_add(1).min(MOST_LEAVE);
        let most = self.leaving == MOST_LEAVE;
        (most || known.is_some()).then_some(most)
    }
}

impl<L> sealed::Sealed for Adaptive<L> {}

impl<L: Adapt> Regulate for Adaptive<L> {
    type Sample = Option<CallStart>;

    #[inline]
    fn begin(&self, in_flight: u32, limit: u32) -> Option<CallStart> {
        // Far from the limit a call says nothing about it, and needs no clock.
        if !near_limit(in_flight, limit) {
            return None;
        }
        Some(CallStart {
            at: self.clock.now(),
            in_flight: NonZeroU32::new(in_flight)?,
            deadline: Deadline::current().map_or(NEVER, |end| self.clock.at(end.instant())),
            upload: None,
        })
    }

    #[inline]
    fn watch(sample: &mut Option<CallStart>, upload: impl FnOnce() -> Option<Upload>) {
        // Where a mode never watches, nothing is left of this.
        if let Some(start) = sample
            && let Some(upload) = upload()
        {
            start.upload = Some(upload);
        }
    }

    #[inline]
    fn end(
        &self,
        sample: &mut Option<CallStart>,
        verdict: Option<Verdict>,
        store: impl FnOnce(u32) -> bool,
    ) -> bool {
        match sample.take() {
            Some(start) => self.learn(&start, verdict, store),
            None => false,
        }
    }

    fn fresh(&self, _: u32) -> (u32, Self) {
        let first = lock(&self.state).first.clone();
        (first.limit().max(1), Self::new(first))
    }

    fn is_idle(&self) -> bool {
        let Some(at) = lock(&self.state).at else { return true };
        self.clock.now().get().saturating_sub(at.get()) >= REMEMBERED
    }
}

impl<L: fmt::Debug> fmt::Debug for Adaptive<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive").field("state", &self.state).finish_non_exhaustive()
    }
}

/// A call that may tell something about the limit.
#[derive(Debug)]
pub struct CallStart {
    at: Nanos,
    in_flight: NonZeroU32,
    /// [`NEVER`] without one.
    deadline: Nanos,
    /// `None` for a body that was there already.
    upload: Option<Upload>,
}

impl CallStart {
    /// What the call says about the limit, if its upload agrees; `None` if it says nothing.
    #[inline]
    fn tells(&self, verdict: Option<Verdict>, now: Nanos) -> Option<Told> {
        match verdict {
            Some(Verdict::Success | Verdict::Permanent) => Some(Told::Answer),
            Some(Verdict::TimedOut | Verdict::Expired | Verdict::Throttled(_)) => {
                Some(Told::Overload)
            }
            // Given up because its time was up is a timeout.
            None if now >= self.deadline => Some(Told::Overload),
            None => Some(Told::GivenUp),
            Some(_) => None,
        }
    }
}

/// For how many nanoseconds the service waited for the body of a call; `None` if the call says nothing.
#[cold]
fn waited_for(upload: &Upload, verdict: Option<Verdict>) -> Option<u64> {
    match upload.waited() {
        UploadWait::For(waited) => Some(Nanos::from(waited).get()),
        // A service that says it has too much to do says so of itself.
        _ if matches!(verdict, Some(Verdict::Throttled(_))) => Some(0),
        // The caller was slow, or broke off: the time is the caller's.
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The service answered.
    Answer,
    /// There was too much load.
    Overload,
    /// The caller went away while it had time.
    GivenUp,
}

const NEVER: Nanos = Nanos::new(u64::MAX);

/// So many more calls given up than answered are a sign of overload: a round of the laws.
const MOST_LEAVE: u32 = 100;

/// What was learned of a key that nobody asks for is kept for a minute, in nanoseconds.
const REMEMBERED: u64 = 60_000_000_000;

use std::{fmt, mem, num::NonZeroU32, time::Duration};

use buttress_control::{Adapt, Nanos, Sample, near_limit};
use buttress_core::{Attempt, Deadline, Upload, UploadWait, Verdict};
use buttress_state::{
    LimitClock,
    sync::{Mutex, lock},
};

use super::regulate::Regulate;
use crate::limit::sealed;

/// The limit that a law learns from the calls admitted near the limit.
#[doc(alias("adaptive concurrency", "concurrency limits"))]
pub struct Adaptive<L> {
    /// User code, the law, runs under this lock. `store` runs under it too, and only writes an
    /// atomic. The lock of a shard of keys is taken before this one, for `is_idle`.
    state: Mutex<LawState<L>>,
    clock: LimitClock,
}

#[derive(Debug)]
struct LawState<L> {
    law: L,
    /// The law as the user gave it.
    first: L,
    /// The latest limit of the law.
    limit: u32,
    /// The time of the latest sample.
    at: Option<Nanos>,
    /// How many more calls were given up than answered lately, at most [`MOST_LEAVE`].
    leaving: u32,
    /// The time of the latest answer, in nanoseconds. 0 before the first answer.
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
        // `now` was read before the lock, so the law may see two calls in the other order of their
        // ends.
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
        // A user's law may return 0. No call would be admitted then, and the law could not recover.
        let limit = state.law.learn(sample).max(1);
        let before = mem::replace(&mut state.limit, limit);
        // Must run under the lock. Otherwise an older limit could overwrite a newer limit of
        // another call.
        limit != before && store(limit)
    }
}

impl<L: Adapt> LawState<L> {
    /// Returns whether a call without an answer counts as dropped. `None` if it says nothing.
    ///
    /// A call that was given up would have taken longer. This tells something only if an unloaded
    /// call takes less time. If most callers leave, they leave after their own patience, however
    /// long the queue is. Then the time of a call says nothing about the limit, and the leaving
    /// says that the limit is too high.
    #[cold]
    fn fail(&mut self, told: Told, rtt: Duration) -> Option<bool> {
        if told == Told::Overload {
            return Some(true);
        }
        let known = self.law.unloaded_rtt();
        // `took` is 0 before the first answer.
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
    fn begin(&self, in_flight: u32, limit: impl FnOnce() -> u32) -> Option<CallStart> {
        // A call far from the limit says nothing about the limit, so skip the clock. A spare call is
        // mostly dropped before its end, when the call that it accompanies is answered.
        if !near_limit(in_flight, limit()) || Attempt::current().is_spare() {
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
        // If the mode never watches uploads, the compiler removes this.
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

/// The start of a call that may be a sample.
#[derive(Debug)]
pub struct CallStart {
    at: Nanos,
    in_flight: NonZeroU32,
    /// [`NEVER`] without a deadline.
    deadline: Nanos,
    /// `None` if the request body was complete from the start.
    upload: Option<Upload>,
}

impl CallStart {
    /// The meaning of the call for the limit, before its upload is considered. `None` if the call
    /// says nothing.
    #[inline]
    fn tells(&self, verdict: Option<Verdict>, now: Nanos) -> Option<Told> {
        match verdict {
            Some(Verdict::Success | Verdict::Permanent) => Some(Told::Answer),
            Some(Verdict::TimedOut | Verdict::Expired | Verdict::Throttled(_)) => {
                Some(Told::Overload)
            }
            // A call given up at its deadline is a timeout.
            None if now >= self.deadline => Some(Told::Overload),
            None => Some(Told::GivenUp),
            Some(_) => None,
        }
    }
}

/// Returns for how many nanoseconds the service waited for the request body. `None` if the call
/// says nothing.
#[cold]
fn waited_for(upload: &Upload, verdict: Option<Verdict>) -> Option<u64> {
    match upload.waited() {
        UploadWait::For(waited) => Some(Nanos::from(waited).get()),
        // An answer that asks for less load is about the service, whatever the upload did.
        _ if matches!(verdict, Some(Verdict::Throttled(_))) => Some(0),
        // The caller was slow or aborted, so the time is the caller's.
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

/// How many more calls must be given up than answered to be a sign of overload: one round of the
/// laws.
const MOST_LEAVE: u32 = 100;

/// How long the state of an unused key is kept: 1 minute, in nanoseconds.
const REMEMBERED: u64 = 60_000_000_000;

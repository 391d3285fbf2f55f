use std::{fmt, mem, time::Duration};

use buttress_control::{Adapt, Nanos, Sample, near_limit};
use buttress_core::{Deadline, Verdict};

use crate::{
    epoch::Epoch,
    sync::{Mutex, lock},
};

/// Who sets the limit of a concurrency limit: the user ([`Fixed`]), or a law ([`Adaptive`]).
///
/// The trait is a bound, to be named and not to be implemented.
pub trait Regulate: Send + Sync + Sized + 'static {
    /// What is remembered of a call while it runs.
    type Sample: fmt::Debug + Send + Sync + Unpin + 'static;

    /// A call begins, with so many in flight and this limit.
    fn begin(&self, in_flight: u32, limit: u32) -> Self::Sample;

    /// A call has ended with this verdict, or was given up. `store` is told of a limit that changed,
    /// and says whether it was raised; so does this.
    fn end(
        &self,
        sample: &mut Self::Sample,
        verdict: Option<Verdict>,
        store: impl FnOnce(u32) -> bool,
    ) -> bool;

    /// The same in its first state, and the limit it starts with.
    fn fresh(&self, limit: u32) -> (u32, Self);

    /// Whether it has learned nothing that is worth keeping.
    fn is_idle(&self) -> bool;
}

/// The limit is what it was set to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fixed;

impl Regulate for Fixed {
    type Sample = ();

    #[inline]
    fn begin(&self, _: u32, _: u32) {}

    #[inline]
    fn end(&self, (): &mut (), _: Option<Verdict>, _: impl FnOnce(u32) -> bool) -> bool {
        false
    }

    fn fresh(&self, limit: u32) -> (u32, Self) {
        (limit, Self)
    }

    fn is_idle(&self) -> bool {
        true
    }
}

/// The limit is what a law makes of the calls that met it.
pub struct Adaptive<L> {
    learned: Mutex<Learned<L>>,
    epoch: Epoch,
}

#[derive(Debug)]
struct Learned<L> {
    law: L,
    /// The law as it was given.
    first: L,
    /// What it said last.
    limit: u32,
    /// When it last learned something.
    at: Option<Nanos>,
}

impl<L: Adapt> Adaptive<L> {
    pub(crate) fn new(law: L) -> Self {
        let learned = Learned { limit: law.limit(), law: law.clone(), first: law, at: None };
        Self { learned: Mutex::new(learned), epoch: Epoch::new() }
    }

    #[inline(never)]
    fn learn(
        &self,
        started: Started,
        verdict: Option<Verdict>,
        store: impl FnOnce(u32) -> bool,
    ) -> bool {
        let Some(dropped) = started.judge(verdict) else { return false };
        let now = self.epoch.now();
        let rtt = Duration::from_nanos(now.get().saturating_sub(started.at.get()));
        let sample = Sample { started: started.at, rtt, in_flight: started.in_flight, dropped };
        let mut learned = lock(&self.learned);
        learned.at = Some(now);
        // A law of the user's may say 0, from which nothing could recover.
        let limit = learned.law.learn(sample).max(1);
        let before = mem::replace(&mut learned.limit, limit);
        // Under the lock, or an older limit could come after a newer one.
        limit != before && store(limit)
    }
}

impl<L: Adapt> Regulate for Adaptive<L> {
    type Sample = Option<Started>;

    #[inline]
    fn begin(&self, in_flight: u32, limit: u32) -> Option<Started> {
        // Far from the limit a call says nothing about it, and needs no clock.
        near_limit(in_flight, limit).then(|| Started {
            at: self.epoch.now(),
            in_flight,
            deadline: Deadline::current(),
        })
    }

    #[inline]
    fn end(
        &self,
        sample: &mut Option<Started>,
        verdict: Option<Verdict>,
        store: impl FnOnce(u32) -> bool,
    ) -> bool {
        match sample.take() {
            Some(started) => self.learn(started, verdict, store),
            None => false,
        }
    }

    fn fresh(&self, _: u32) -> (u32, Self) {
        let first = lock(&self.learned).first.clone();
        (first.limit().max(1), Self::new(first))
    }

    fn is_idle(&self) -> bool {
        let Some(at) = lock(&self.learned).at else { return true };
        self.epoch.now().get().saturating_sub(at.get()) >= REMEMBERED
    }
}

impl<L: fmt::Debug> fmt::Debug for Adaptive<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive").field("learned", &self.learned).finish_non_exhaustive()
    }
}

/// A call that may tell something about the limit.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    at: Nanos,
    in_flight: u32,
    deadline: Option<Deadline>,
}

impl Started {
    /// Whether the call says that there was too much load; `None` if it says nothing.
    fn judge(&self, verdict: Option<Verdict>) -> Option<bool> {
        match verdict {
            Some(Verdict::Success | Verdict::Permanent) => Some(false),
            Some(Verdict::TimedOut | Verdict::Expired | Verdict::Throttled(_)) => Some(true),
            // Given up because its time was up is a timeout; for any other reason, nothing.
            None => self.deadline.is_some_and(Deadline::has_passed).then_some(true),
            Some(_) => None,
        }
    }
}

/// What was learned of a key that nobody asks for is kept for a minute, in nanoseconds.
const REMEMBERED: u64 = 60_000_000_000;

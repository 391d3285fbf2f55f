use std::{sync::Arc, time::Duration};

use buttress_core::{Deadline, Progress, Share, Signals, Spent, Verdict};
use buttress_state::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
    lock,
};

use super::{Call, Entry, SharedOf, Writer};
use crate::{
    cache::{CacheWrite, CachedOutcome},
    flight::SharedResult,
};

/// The result of a flight.
pub(crate) struct FlightResult<C: Call> {
    pub(crate) published: Published<C>,
    /// The inner outcome, if it is for the leader only. A leaf lock: each caller takes or leaves the value,
    /// and no other lock is taken under it.
    pub(crate) own: Mutex<Option<Result<C::Response, C::Error>>>,
    pub(crate) signals: BoxedSignals,
    /// The call ended at the leader's deadline. Followers with more time start again.
    pub(crate) expired: bool,
    /// The result is a failure with this verdict, and only the leader wanted no stale entry in its place.
    pub(crate) stale_for_others: Option<Verdict>,
    /// The result is a stale entry in place of a failure with this verdict.
    pub(crate) instead_of: Option<Verdict>,
}

/// The part of a result that all members can use.
pub(crate) enum Published<C: Call> {
    Response {
        mode: C::Mode,
        shared: SharedOf<C>,
        writer: Writer<C>,
    },
    Error(C::Error),
    /// The error, and its pending write to the cache.
    CachedError(Arc<C::Error>, Writer<C>),
    /// An entry, from a store or in place of a failure.
    Cached(Entry<C>),
    /// An entry of a store, and the refresh of it that is due. Boxed, because hardly any flight has this.
    Due(Box<DueEntry<C>>),
    /// Another process renews the entry, for this time at most. No call was made. A follower starts again.
    Busy(Duration),
    /// Nothing to share: a single follower makes the next call, and the others wait for it.
    Restart,
    /// Nothing to share, now and next time: each follower makes a call of its own.
    Bypass,
    /// An inner layer with this pattern superseded the call, and with it all members.
    Superseded(&'static str),
    Panicked,
}

/// An entry of a store that is to be renewed.
pub(crate) struct DueEntry<C: Call> {
    pub(crate) entry: Entry<C>,
    /// The call that renews the entry. The first member that comes takes it. A leaf lock.
    uncalled: Mutex<Option<Uncalled<C>>>,
}

/// A service and the request with which it was not called.
type Uncalled<C> = (<C as Call>::Service, <C as Call>::Request);

impl<C: Call> DueEntry<C> {
    pub(crate) fn new(entry: Entry<C>, uncalled: Uncalled<C>) -> Self {
        Self { entry, uncalled: Mutex::new(Some(uncalled)) }
    }

    pub(crate) fn take(&self) -> Option<Uncalled<C>> {
        lock(&self.uncalled).take()
    }
}

impl<C: Call> FlightResult<C> {
    pub(crate) fn new(published: Published<C>) -> Self {
        Self {
            published,
            own: Mutex::new(None),
            signals: BoxedSignals::default(),
            expired: false,
            stale_for_others: None,
            instead_of: None,
        }
    }

    /// A result with an outcome for the leader only.
    pub(crate) fn owned(outcome: Result<C::Response, C::Error>, published: Published<C>) -> Self {
        Self { own: Mutex::new(Some(outcome)), ..Self::new(published) }
    }

    /// Takes the outcome that is for a single caller.
    pub(crate) fn take(&self) -> Option<Result<C::Response, C::Error>> {
        lock(&self.own).take()
    }
}

/// The signals that came with an outcome. Boxed, because hardly any call raises a signal, and so an outcome
/// grows by a single word.
#[derive(Debug, Default)]
pub(crate) struct BoxedSignals(Option<Box<OutcomeSignals>>);

#[derive(Debug, Default)]
struct OutcomeSignals {
    signals: Signals,
    /// A caller has raised `Signals::spent`. The other callers leave it out, so that a sum over all callers
    /// counts each call once.
    has_told_spent: AtomicBool,
}

impl BoxedSignals {
    #[inline]
    pub(crate) fn new(signals: Signals) -> Self {
        if signals.is_empty() { Self(None) } else { Self::boxed(signals) }
    }

    /// The signals that [`Signals::watch_raised`] has seen.
    #[inline]
    pub(crate) fn raised(signals: Option<Signals>) -> Self {
        signals.map_or(Self(None), Self::boxed)
    }

    #[cold]
    fn boxed(signals: Signals) -> Self {
        Self(Some(Box::new(OutcomeSignals { signals, has_told_spent: AtomicBool::new(false) })))
    }

    /// The deadline that ended the call.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.0.as_ref().and_then(|outcome| outcome.signals.deadline)
    }

    /// Adds that `deadline` ended the call. The later of two is kept.
    pub(crate) fn add_deadline(&mut self, deadline: Option<Deadline>) {
        let signals = &mut self.0.get_or_insert_default().signals;
        signals.deadline = signals.deadline.max(deadline);
    }

    /// Raises the signals again, for the layers around a caller.
    #[inline]
    pub(crate) fn raise(&self) {
        if let Some(outcome) = &self.0 {
            outcome.raise();
        }
    }

    /// Raises only the calls that were spent, for a caller that receives another outcome instead.
    pub(crate) fn raise_spent(&self) {
        if let Some(outcome) = &self.0 {
            Signals::raise_spent(outcome.take_spent());
        }
    }
}

impl OutcomeSignals {
    #[cold]
    fn raise(&self) {
        let mut signals = self.signals;
        signals.spent = self.take_spent();
        signals.raise();
    }

    fn take_spent(&self) -> Spent {
        // Relaxed: the flag only picks a single caller, and publishes no other memory.
        if self.signals.spent.is_zero() || self.has_told_spent.swap(true, Ordering::Relaxed) {
            return Spent::default();
        }
        self.signals.spent
    }
}

impl<C: Call> SharedResult for FlightResult<C> {
    const CACHES: bool = Writer::<C>::CACHES;
    const IS_COMPLETE: bool = C::Mode::IS_COMPLETE;

    fn progress(&self) -> Progress {
        match &self.published {
            Published::Response { mode, shared, .. } => mode.progress(shared),
            _ => Progress::Complete,
        }
    }

    fn expect_callers(&self, callers: usize) {
        if let Published::Response { mode, shared, .. } = &self.published {
            mode.expect_callers(shared, callers);
        }
    }

    fn abandon(&self) {
        if let Published::Response { mode, shared, writer } = &self.published {
            // Now, because a waker of the service may keep this result for long.
            writer.abandon();
            mode.abandon(shared);
        }
    }

    fn drop_leaders_outcome(&self) {
        // With `Restart` a follower takes the outcome.
        if matches!(self.published, Published::Bypass) {
            drop(self.take());
        }
    }

    fn decline(&self) {
        if let Published::Response { writer, .. } = &self.published {
            writer.decline();
        }
    }

    fn store(&self) -> bool {
        match &self.published {
            Published::Response { mode, shared, writer } => writer.write(|| {
                let entry = mode.for_cache(shared);
                let weight = mode.weight(&entry);
                (CachedOutcome::Response(entry), weight)
            }),
            Published::CachedError(error, writer) => {
                writer.write(|| (CachedOutcome::Error(Arc::clone(error)), size_of::<C::Error>()))
            }
            _ => false,
        }
    }
}

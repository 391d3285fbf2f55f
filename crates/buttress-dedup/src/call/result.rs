use std::sync::Arc;

use buttress_core::{Deadline, Progress, Share, Signals};

use super::{Call, Entry, SharedOf, Writer};
use crate::{
    cache::{CacheWrite, CachedOutcome},
    flight::SharedResult,
    sync::{Mutex, lock},
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
    /// The result is a failure, and only the leader wanted no stale entry in its place.
    pub(crate) others_may_serve_stale: bool,
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
    /// Nothing to share: a single follower makes the next call, and the others wait for it.
    Restart,
    /// Nothing to share, now and next time: each follower makes a call of its own.
    Bypass,
    Panicked,
}

impl<C: Call> FlightResult<C> {
    pub(crate) fn new(published: Published<C>) -> Self {
        Self {
            published,
            own: Mutex::new(None),
            signals: BoxedSignals::default(),
            expired: false,
            others_may_serve_stale: false,
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
#[derive(Clone, Debug, Default)]
pub(crate) struct BoxedSignals(Option<Box<Signals>>);

impl BoxedSignals {
    #[inline]
    pub(crate) fn new(signals: Signals) -> Self {
        if signals.is_empty() { Self(None) } else { Self::boxed(signals) }
    }

    #[cold]
    fn boxed(signals: Signals) -> Self {
        Self(Some(Box::new(signals)))
    }

    /// The deadline that ended the call.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.0.as_ref().and_then(|signals| signals.deadline)
    }

    /// Adds that `deadline` ended the call. The later of two is kept.
    pub(crate) fn add_deadline(&mut self, deadline: Option<Deadline>) {
        let signals = self.0.get_or_insert_default();
        signals.deadline = signals.deadline.max(deadline);
    }

    /// Raises the signals again, for the layers around a caller.
    #[inline]
    pub(crate) fn raise(&self) {
        if let Some(signals) = &self.0 {
            signals.raise();
        }
    }
}

impl<C: Call> SharedResult for FlightResult<C> {
    const CACHES: bool = Writer::<C>::CACHES;

    fn progress(&self) -> Progress {
        match &self.published {
            Published::Response { mode, shared, .. } => mode.progress(shared),
            _ => Progress::Complete,
        }
    }

    fn expect_caller(&self) {
        if let Published::Response { mode, shared, .. } = &self.published {
            mode.expect_callers(shared, 1);
        }
    }

    fn abandon(&self) {
        if let Published::Response { mode, shared, .. } = &self.published {
            mode.abandon(shared);
        }
    }

    fn drop_leaders_outcome(&self) {
        // With `Restart` a follower takes the outcome.
        if matches!(self.published, Published::Bypass) {
            drop(self.take());
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

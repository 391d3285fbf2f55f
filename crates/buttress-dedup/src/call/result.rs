use std::sync::Arc;

use buttress_core::{Deadline, Progress, Share, Signals};

use super::{Call, Entry, SharedResponse, Writer};
use crate::{
    cache::{CacheWrite, CachedOutcome},
    flight::SharedResult,
    sync::{Mutex, lock},
};

/// What a flight came to.
pub(crate) struct FlightResult<C: Call> {
    pub(crate) published: Published<C>,
    /// The outcome itself, where it is for the first caller alone.
    pub(crate) own: Mutex<Option<Result<C::Response, C::Error>>>,
    pub(crate) signals: BoxedSignals,
    /// It ended at the deadline of the first caller: whoever has more time goes again.
    pub(crate) expired: bool,
    /// It is a failure, and the first caller wanted no kept answer in its place: the others may.
    pub(crate) others_may_serve_stale: bool,
}

/// What there is for those who wait.
pub(crate) enum Published<C: Call> {
    Response {
        mode: C::Mode,
        shared: SharedResponse<C>,
        writer: Writer<C>,
    },
    Error(C::Error),
    /// The error, and where it is kept.
    CachedError(Arc<C::Error>, Writer<C>),
    /// What was kept before, in place of a failure.
    Cached(Entry<C>),
    /// Nothing: one of them makes the call, and the others wait for that one.
    Restart,
    /// Nothing, and what comes next is for nobody else either: each makes a call.
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

    /// For the first caller alone, and nothing for the others.
    pub(crate) fn owned(outcome: Result<C::Response, C::Error>, published: Published<C>) -> Self {
        Self { own: Mutex::new(Some(outcome)), ..Self::new(published) }
    }

    /// Takes the outcome that is for one alone.
    pub(crate) fn take(&self) -> Option<Result<C::Response, C::Error>> {
        lock(&self.own).take()
    }
}

/// The signals that came with an outcome, in a box because hardly any call raises one: every outcome
/// moves one word.
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

    /// Raises the signals again, for the layers around one caller.
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

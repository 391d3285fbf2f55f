use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
};

use buttress_core::{CallSettings, Extent, SharedSettings, Spent, ThreadCopy};
use tokio::time::Instant;

use super::settings::Settings;
use crate::{CallEnd, CallRecord, Record};

/// A call that has begun: the duty to count and record its end, by [`end`](Self::end) or by its
/// drop.
pub(crate) struct Measurement<R: Record> {
    /// `None` once the call has ended.
    settings: Option<Arc<ThreadCopy<CallSettings<Settings<R>>>>>,
    started: Instant,
    spent: Spent,
}

impl<R: Record> Measurement<R> {
    #[inline]
    pub(crate) fn begin(settings: &SharedSettings<Settings<R>>) -> Self {
        let settings = Arc::clone(settings.of_thread());
        settings.note_call();
        Self { settings: Some(settings), started: Instant::now(), spent: Spent::default() }
    }

    /// Moves the duty to the result.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self { settings: self.settings.take(), started: self.started, spent: self.spent }
    }

    #[cold]
    pub(crate) fn note_spent(&mut self, spent: Spent) {
        self.spent = self.spent.plus(spent);
    }

    #[inline]
    pub(crate) fn ends_at_head(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.extent == Extent::UntilHead)
    }

    #[inline]
    pub(crate) fn end(&mut self, end: CallEnd) {
        // Taken first: if the sink panics, the call has ended all the same, and only once.
        let Some(settings) = self.settings.take() else { return };
        settings.state.note_end(end);
        settings.sink_of_instance.record(&CallRecord {
            subject: settings.subject,
            instance: settings.origin.name(),
            end,
            duration: self.started.elapsed(),
            retries: self.spent.retries,
            hedges: self.spent.hedges,
        });
    }

    #[cold]
    fn abandon(&mut self) {
        if !thread::panicking() {
            return self.end(CallEnd::Dropped);
        }
        // A second panic while unwinding would abort the process. The first one goes on.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.end(CallEnd::Dropped)));
    }
}

impl<R: Record> Drop for Measurement<R> {
    #[inline]
    fn drop(&mut self) {
        if self.settings.is_some() {
            self.abandon();
        }
    }
}

//! Counts of the layers' events: two numbers of the report are in no handle.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::lock::lock;

/// Resets the counts. The counts are global, because one client runs at a time.
pub(crate) fn reset() {
    // Later calls fail, because the first call has set this subscriber.
    let _ = tracing::subscriber::set_global_default(EventCounter);
    lock(&SCHEDULED).clear();
    QUEUED.store(0, Relaxed);
}

/// Returns the number of scheduled retries since the reset, by the verdict on the previous attempt.
pub(crate) fn retries_by_reason() -> BTreeMap<&'static str, u64> {
    lock(&SCHEDULED).clone()
}

/// Returns the number of requests that waited for a permit since the reset.
pub(crate) fn queued() -> u64 {
    QUEUED.load(Relaxed)
}

static SCHEDULED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
static QUEUED: AtomicU64 = AtomicU64::new(0);

/// Counts the events `retry.scheduled` and `throttle.queued`.
struct EventCounter;

impl Subscriber for EventCounter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        matches!(metadata.name(), RETRY_SCHEDULED | THROTTLE_QUEUED)
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().name() == THROTTLE_QUEUED {
            QUEUED.fetch_add(1, Relaxed);
            return;
        }
        let mut verdict = Verdict("other");
        event.record(&mut verdict);
        *lock(&SCHEDULED).entry(verdict.0).or_default() += 1;
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The field `verdict` of an event as a key of the report.
struct Verdict(&'static str);

impl Visit for Verdict {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "verdict" {
            let verdict = format!("{value:?}");
            let found = VERDICTS.iter().find(|(debug, _)| verdict.starts_with(debug));
            self.0 = found.map_or("other", |(_, key)| key);
        }
    }
}

const RETRY_SCHEDULED: &str = "retry.scheduled";
const THROTTLE_QUEUED: &str = "throttle.queued";

const VERDICTS: [(&str, &str); 5] = [
    ("Transient", "transient"),
    ("TimedOut", "timed_out"),
    ("Throttled", "throttled"),
    ("NeverProcessed", "never_processed"),
    ("Rejected", "rejected"),
];

//! What the layers say as they decide: some of it is in their events alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::upstream::faulty_stream::lock;

/// Counts from zero, in the whole process: one client runs at a time.
pub(crate) fn restart() {
    // Set once; the later attempts find this very subscriber.
    let _ = tracing::subscriber::set_global_default(Counter);
    lock(&SCHEDULED).clear();
    QUEUED.store(0, Relaxed);
}

/// How many retries were scheduled since the restart, by the verdict on the attempt before.
pub(crate) fn retries_by_reason() -> BTreeMap<&'static str, u64> {
    lock(&SCHEDULED).clone()
}

/// How many requests had to wait for a permit since the restart.
pub(crate) fn queued() -> u64 {
    QUEUED.load(Relaxed)
}

static SCHEDULED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
static QUEUED: AtomicU64 = AtomicU64::new(0);

/// Listens to `retry.scheduled` and `throttle.queued`, and to nothing else.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        matches!(metadata.name(), RETRIED | WAITS)
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().name() == WAITS {
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

/// The field `verdict` of an event, as a word.
struct Verdict(&'static str);

impl Visit for Verdict {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "verdict" {
            let verdict = format!("{value:?}");
            let known = VERDICTS.iter().find(|(debug, _)| verdict.starts_with(debug));
            self.0 = known.map_or("other", |(_, word)| word);
        }
    }
}

const RETRIED: &str = "retry.scheduled";
const WAITS: &str = "throttle.queued";

const VERDICTS: [(&str, &str); 5] = [
    ("Transient", "transient"),
    ("TimedOut", "timed_out"),
    ("Throttled", "throttled"),
    ("NeverProcessed", "never_processed"),
    ("Rejected", "rejected"),
];

//! Retries by reason, counted from the events of the retry layer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::wire::lock;

/// Counts from zero, in the whole process: one client runs at a time.
pub(crate) fn restart() {
    // Set once; the later attempts find this very subscriber.
    let _ = tracing::subscriber::set_global_default(Counter);
    lock(&SCHEDULED).clear();
}

/// How many retries were scheduled since the restart, by the verdict on the attempt before.
pub(crate) fn by_reason() -> BTreeMap<&'static str, u64> {
    lock(&SCHEDULED).clone()
}

static SCHEDULED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Listens to `retry.scheduled` and to nothing else.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "retry.scheduled"
    }

    fn event(&self, event: &Event<'_>) {
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

const VERDICTS: [(&str, &str); 5] = [
    ("Transient", "transient"),
    ("TimedOut", "timed_out"),
    ("Throttled", "throttled"),
    ("NeverProcessed", "never_processed"),
    ("Rejected", "rejected"),
];

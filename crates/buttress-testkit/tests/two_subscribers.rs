//! A simulation beside another `tracing` subscriber of the process.

use std::sync::atomic::{AtomicUsize, Ordering};

use buttress_testkit::simulate;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

static SEEN: AtomicUsize = AtomicUsize::new(0);

/// Wants warnings only, and says so.
struct Warnings;

impl Subscriber for Warnings {
    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::WARN)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn emit() {
    tracing::warn!(name: "opened", target: "buttress_breaker", "an event");
    tracing::trace!(name: "called", target: "buttress_breaker", "an event");
}

#[test]
fn simulation_records_all_levels_whatever_another_subscriber_wants() {
    assert!(tracing::subscriber::set_global_default(Warnings).is_ok());
    emit();
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
    for seed in 0..3 {
        let ((), log) = simulate(seed, async || emit());
        assert_eq!(log.as_str().lines().count(), 2, "{log}");
    }
    assert_eq!(SEEN.load(Ordering::Relaxed), 1, "the events of a simulation are its own");
    emit();
    assert_eq!(SEEN.load(Ordering::Relaxed), 2);
}

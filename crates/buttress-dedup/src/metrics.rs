use buttress_core::{Measure, Metric, Reading};

use crate::{DedupHandle, DedupSnapshot};

/// The [metrics](crate#metrics) of the layer.
impl Measure for DedupHandle {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        COUNTERS.iter().chain([&IN_FLIGHT, &WAITERS]).for_each(&mut *define);
        [&CACHE_ENTRIES, &CACHE_BYTES].into_iter().for_each(&mut *define);
        STORE_COUNTERS.iter().for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let snapshot = self.snapshot();
        let instance = self.origin.name();
        for (metric, count) in COUNTERS.iter().zip(counts(&snapshot)) {
            read(Reading::count(metric, instance, count));
        }
        read(Reading::number(&IN_FLIGHT, instance, snapshot.in_flight as u64));
        read(Reading::number(&WAITERS, instance, snapshot.waiters as u64));
        if self.has_cache() {
            read(Reading::number(&CACHE_ENTRIES, instance, snapshot.cache_entries as u64));
            read(Reading::number(&CACHE_BYTES, instance, snapshot.cache_bytes));
        }
        if self.has_coordinated_store() {
            for (metric, count) in STORE_COUNTERS.iter().zip(store_counts(&snapshot)) {
                read(Reading::count(metric, instance, count));
            }
        }
    }
}

/// The values of the [`COUNTERS`], in their order.
const fn counts(snapshot: &DedupSnapshot) -> [u64; 9] {
    let DedupSnapshot { calls, leaders, followers, bypassed, handovers, .. } = *snapshot;
    let DedupSnapshot { cache_hits, stale_hits, refreshes, panics, .. } = *snapshot;
    [calls, leaders, followers, bypassed, handovers, cache_hits, stale_hits, refreshes, panics]
}

/// The values of the [`STORE_COUNTERS`], in their order.
const fn store_counts(snapshot: &DedupSnapshot) -> [u64; 6] {
    let DedupSnapshot { store_hits, store_leads, store_waits, store_alone, .. } = *snapshot;
    let DedupSnapshot { superseded, store_errors, .. } = *snapshot;
    [store_hits, store_leads, store_waits, store_alone, superseded, store_errors]
}

static COUNTERS: [Metric; 9] = [
    Metric::counter(
        "buttress.dedup.calls",
        "{call}",
        "Calls. A call that starts again counts once.",
    ),
    Metric::counter(
        "buttress.dedup.leaders",
        "{call}",
        "Calls and background refreshes that started a flight.",
    ),
    Metric::counter(
        "buttress.dedup.followers",
        "{call}",
        "Calls that joined a flight, and background refreshes that found a flight.",
    ),
    Metric::counter(
        "buttress.dedup.bypassed",
        "{call}",
        "Calls without a key, and calls whose result could not be shared.",
    ),
    Metric::counter(
        "buttress.dedup.handovers",
        "{flight}",
        "Flights that continued after their leader had left.",
    ),
    Metric::counter(
        "buttress.dedup.cache_hits",
        "{call}",
        "Calls that were answered with a cache entry.",
    ),
    Metric::counter("buttress.dedup.stale_hits", "{call}", "Cache hits whose entry was stale."),
    Metric::counter(
        "buttress.dedup.refreshes",
        "{refresh}",
        "Background refreshes that were started.",
    ),
    Metric::counter("buttress.dedup.panics", "{panic}", "Panics that callers met."),
];

static IN_FLIGHT: Metric =
    Metric::gauge("buttress.dedup.in_flight", "{flight}", "Flights that a caller can join.");

static WAITERS: Metric = Metric::gauge(
    "buttress.dedup.waiters",
    "{call}",
    "Callers that wait for a flight, or read its response.",
);

static CACHE_ENTRIES: Metric =
    Metric::gauge("buttress.dedup.cache_entries", "{entry}", "Cache entries.");

static CACHE_BYTES: Metric =
    Metric::gauge("buttress.dedup.cache_bytes", "By", "Bytes that the cache entries take.");

static STORE_COUNTERS: [Metric; 6] = [
    Metric::counter(
        "buttress.dedup.store.hits",
        "{flight}",
        "Reads of a coordinated store that found an entry.",
    ),
    Metric::counter(
        "buttress.dedup.store.leads",
        "{flight}",
        "Reads after which this process made the call for all others.",
    ),
    Metric::counter(
        "buttress.dedup.store.waits",
        "{flight}",
        "Reads that waited for the call of another process.",
    ),
    Metric::counter(
        "buttress.dedup.store.alone",
        "{flight}",
        "Reads after which this process made a call for itself alone.",
    ),
    Metric::counter(
        "buttress.dedup.store.superseded",
        "{entry}",
        "Results that the store did not take, because they had been invalidated meanwhile.",
    ),
    Metric::counter(
        "buttress.dedup.store.errors",
        "{error}",
        "Operations of the store that failed.",
    ),
];

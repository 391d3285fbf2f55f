//! Each handle's metrics are those of the table in the docs of its crate.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::ready,
    path::Path,
    sync::Arc,
    time::Duration,
};

use buttress::{
    BoxError, Budget, Cache, DeadlineLayer, DedupHandle, DedupLayer, FallbackLayer, Gradient2,
    HedgeLayer, OrderLayer, Rate, Redis, RetryLayer, SharedCache, ThrottleLayer,
    breaker::BreakerLayer,
    layer_api::{Codec, Measure, Metric, MetricKind, MetricValue},
    throttle::Fleet,
};
use buttress_testkit::FakeStore;
use bytes::Bytes;
use tower::{Layer, Service, service_fn};

/// The name that each layer gets here. A namespace of Redis can have this name too.
const NAME: &str = "an-instance";

/// The metrics that some layers have no reading of.
const OPTIONAL: [&str; 25] = [
    "buttress.breaker.keys",
    "buttress.dedup.cache_bytes",
    "buttress.dedup.cache_entries",
    "buttress.dedup.store.alone",
    "buttress.dedup.store.errors",
    "buttress.dedup.store.hits",
    "buttress.dedup.store.leads",
    "buttress.dedup.store.superseded",
    "buttress.dedup.store.waits",
    "buttress.hedge.budget",
    "buttress.hedge.delay",
    "buttress.retry.budget",
    "buttress.throttle.in_flight",
    "buttress.throttle.keys",
    "buttress.throttle.limit",
    "buttress.throttle.store.away_admitted",
    "buttress.throttle.store.debt",
    "buttress.throttle.store.denied_trips",
    "buttress.throttle.store.errors",
    "buttress.throttle.store.expired",
    "buttress.throttle.store.granted",
    "buttress.throttle.store.keys_away",
    "buttress.throttle.store.losses",
    "buttress.throttle.store.trip_time_max",
    "buttress.throttle.store.trips",
];

/// The units, as in UCUM.
const UNITS: [&str; 20] = [
    "1",
    "By",
    "s",
    "{attempt}",
    "{call}",
    "{cell}",
    "{circuit}",
    "{connection}",
    "{entry}",
    "{error}",
    "{flight}",
    "{hedge}",
    "{key}",
    "{loss}",
    "{opening}",
    "{operation}",
    "{panic}",
    "{refresh}",
    "{token}",
    "{trip}",
];

type Handles = Vec<(&'static str, Arc<dyn Measure>)>;

#[expect(
    clippy::unnecessary_wraps,
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape of a key"
)]
fn key(request: &u32) -> Option<u32> {
    Some(*request)
}

/// The handles of renamed layers, in all their kinds, with the name of their pattern.
fn handles() -> Handles {
    let ms = Duration::from_millis(1);
    let breaker = BreakerLayer::new().named(NAME);
    let throttle = ThrottleLayer::concurrency(8).named(NAME);
    let rate = ThrottleLayer::rate(Rate::per_second(9)).named(NAME);
    let fleet = rate.clone().fleet(Fleet::new(FakeStore::new(), 3));
    let dedup = DedupLayer::new().named(NAME);
    let unlimited = Budget::unlimited();
    vec![
        ("deadline", Arc::new(DeadlineLayer::new(ms).named(NAME).handle())),
        ("deadline", Arc::new(DeadlineLayer::propagate().named(NAME).handle())),
        ("retry", Arc::new(RetryLayer::new(3).named(NAME).handle())),
        ("retry", Arc::new(RetryLayer::new(3).budget(unlimited.clone()).named(NAME).handle())),
        ("hedge", Arc::new(HedgeLayer::after(ms).named(NAME).handle())),
        ("hedge", Arc::new(HedgeLayer::learned().budget(unlimited).named(NAME).handle())),
        ("breaker", Arc::new(breaker.handle())),
        ("breaker", Arc::new(breaker.keyed(key).handle())),
        ("throttle", Arc::new(throttle.handle())),
        ("throttle", Arc::new(throttle.keyed(key).handle())),
        ("throttle", Arc::new(rate.handle())),
        ("throttle", Arc::new(rate.keyed(key).handle())),
        ("throttle", Arc::new(fleet.handle())),
        ("throttle", Arc::new(fleet.keyed(key).handle())),
        ("throttle", Arc::new(ThrottleLayer::accept_ratio().named(NAME).handle())),
        ("throttle", Arc::new(ThrottleLayer::adaptive(Gradient2::default()).named(NAME).handle())),
        ("dedup", Arc::new(dedup.handle())),
        ("dedup", Arc::new(dedup.clone().cache(Cache::new(ms)).handle())),
        ("dedup", Arc::new(shared_cache(dedup))),
        ("order", Arc::new(OrderLayer::serial(key).named(NAME).handle())),
        ("order", Arc::new(OrderLayer::latest(key).named(NAME).handle())),
        ("fallback", Arc::new(FallbackLayer::value(1).named(NAME).handle())),
        ("redis", Arc::new(Redis::open("redis://127.0.0.1:1", NAME).unwrap())),
    ]
}

/// A layer whose cache has opened its store, which the first call does.
fn shared_cache(layer: DedupLayer) -> DedupHandle {
    let store = SharedCache::new(FakeStore::new(), Numbers);
    let layer = layer.cache(Cache::new(Duration::from_secs(1)).store(store));
    let echo = service_fn(|number: u32| ready(Ok::<_, BoxError>(number)));
    drop(layer.layer(echo).call(1));
    layer.handle()
}

/// Writes a number as its bytes.
#[derive(Clone)]
struct Numbers;

impl Codec<u32> for Numbers {
    const ID: u32 = 1;

    fn encode(&self, number: &u32, out: &mut Vec<u8>, _: usize) -> bool {
        out.extend_from_slice(&number.to_be_bytes());
        true
    }

    fn decode(&self, bytes: Bytes) -> Option<u32> {
        Some(u32::from_be_bytes(bytes.as_ref().try_into().ok()?))
    }
}

fn described(handle: &dyn Measure) -> Vec<&'static Metric> {
    let mut metrics = Vec::new();
    handle.describe(&mut |metric| metrics.push(metric));
    metrics
}

/// A row of a table: name, kind, unit, label and description.
type Row = [String; 5];

fn row(metric: &Metric) -> Row {
    let kind = match metric.kind() {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        _ => panic!("a kind that the tables do not know"),
    };
    let code = |text: &str| format!("`{text}`");
    let label = metric.label().map_or_else(|| "–".to_owned(), code);
    [
        code(metric.name()),
        kind.to_owned(),
        code(metric.unit()),
        label,
        metric.description().to_owned(),
    ]
}

/// The rows under the heading "Metrics" in the docs of a crate.
fn table(pattern: &str) -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join(format!("crates/buttress-{pattern}/src/lib.rs"));
    let docs = fs::read_to_string(path).unwrap();
    let (_, section) = docs.split_once("//! # Metrics\n").unwrap();
    let (section, _) = section.split_once("\n//! # ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("//! | `"));
    rows.map(|line| {
        let cells = line.trim_start_matches("//! |").trim_end_matches('|').split(" | ");
        let cells: Vec<_> = cells.map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|_| panic!("five cells in `{line}`"))
    })
    .collect()
}

#[test]
fn handle_describes_the_metrics_of_its_table_and_no_others() {
    for (pattern, handle) in handles() {
        let rows: Vec<_> = described(&*handle).into_iter().map(row).collect();
        assert_eq!(rows, table(pattern), "{pattern}");
    }
}

#[test]
fn metric_has_one_definition_in_all_crates() {
    let mut known = BTreeMap::new();
    for (pattern, handle) in handles() {
        for metric in described(&*handle) {
            let first = *known.entry(metric.name()).or_insert(metric);
            assert_eq!(first, metric);
            assert!(metric.name().starts_with(&format!("buttress.{pattern}.")), "{metric:?}");
            assert!(UNITS.contains(&metric.unit()), "{metric:?}");
            assert!(metric.description().ends_with('.'), "{metric:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reading_is_described_and_has_the_name_of_the_layer() {
    for (pattern, handle) in handles() {
        let metrics = described(&*handle);
        let mut seen = BTreeSet::new();
        handle.measure(&mut |reading| {
            let metric = reading.metric();
            assert!(metrics.contains(&metric), "{pattern}: {metric:?} is not described");
            assert_eq!(reading.instance(), NAME);
            assert_eq!(reading.label().map(|(name, _)| name), metric.label(), "{metric:?}");
            let is_count = matches!(reading.value(), MetricValue::Count(_));
            assert_eq!(is_count, metric.kind() == MetricKind::Counter, "{metric:?}");
            let label = reading.label().map(|(_, value)| value);
            assert!(seen.insert((metric.name(), label)), "{metric:?} was read twice");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn metric_has_a_reading_unless_it_is_optional() {
    let mut described_names = BTreeSet::new();
    let mut read_names = BTreeSet::new();
    for (_, handle) in handles() {
        let mut read = BTreeSet::new();
        handle.measure(&mut |reading| {
            read.insert(reading.metric().name());
        });
        for metric in described(&*handle) {
            let is_there = read.contains(metric.name()) || OPTIONAL.contains(&metric.name());
            assert!(is_there, "{metric:?} has no reading");
            described_names.insert(metric.name());
        }
        read_names.append(&mut read);
    }
    assert_eq!(read_names, described_names, "an optional metric has a reading of some layer");
}

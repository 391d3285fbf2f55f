//! Observable instruments and histograms of OpenTelemetry, through the SDK.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test panic as the test would"
)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use buttress_core::BoxError;
use buttress_metrics::{DURATION_BUCKETS, MeterLayer, OpenTelemetrySink, Registry};
use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, MeterProviderBuilder, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics},
};
use support::TestHandle;
use tower::{ServiceBuilder, ServiceExt};

fn provider(exporters: &[&InMemoryMetricExporter]) -> SdkMeterProvider {
    let readers = exporters.iter().map(|exporter| {
        PeriodicReader::builder((*exporter).clone())
            .with_interval(Duration::from_secs(3600))
            .build()
    });
    readers.fold(SdkMeterProvider::builder(), MeterProviderBuilder::with_reader).build()
}

fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let mut labels: Vec<_> =
        attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    labels.sort();
    labels.join(",")
}

/// Collects once, and returns each series as `name{labels}`, with its value.
fn collect(
    provider: &SdkMeterProvider,
    exporter: &InMemoryMetricExporter,
) -> BTreeMap<String, String> {
    exporter.reset();
    provider.force_flush().unwrap();
    latest(exporter, &|metric| points(metric.data()))
}

fn latest(
    exporter: &InMemoryMetricExporter,
    points: &dyn Fn(&Metric) -> Vec<(String, String)>,
) -> BTreeMap<String, String> {
    let finished = exporter.get_finished_metrics().unwrap();
    let mut series = BTreeMap::new();
    for metric in
        finished.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics)
    {
        for (labels, value) in points(metric) {
            series.insert(format!("{}{{{labels}}}", metric.name()), value);
        }
    }
    series
}

fn points(data: &AggregatedMetrics) -> Vec<(String, String)> {
    match data {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            assert!(sum.is_monotonic());
            sum.data_points()
                .map(|point| (labels(point.attributes()), point.value().to_string()))
                .collect()
        }
        AggregatedMetrics::F64(MetricData::Gauge(gauge)) => gauge
            .data_points()
            .map(|point| (labels(point.attributes()), point.value().to_string()))
            .collect(),
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
            .data_points()
            .map(|point| {
                assert!(point.bounds().eq(DURATION_BUCKETS.iter().copied()));
                let text = format!("{} in {}", point.count(), point.sum());
                (labels(point.attributes()), text)
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn collection_observes_all_handles_once() {
    let exporter = InMemoryMetricExporter::default();
    let provider = provider(&[&exporter]);
    let (a, b) = (TestHandle::new("a", 8), TestHandle::new("b", 16));
    let registry = Registry::new().add(a.clone()).add(b.clone());
    registry.register(&provider.meter("test"));
    let expected = [
        ("test.calls{name=a}", "8"),
        ("test.calls{name=b}", "16"),
        ("test.delay{name=a}", "1"),
        ("test.delay{name=b}", "2"),
        ("test.failed{name=a,reason=broken}", "16"),
        ("test.failed{name=a,reason=late}", "24"),
        ("test.failed{name=b,reason=broken}", "32"),
        ("test.failed{name=b,reason=late}", "48"),
        ("test.open{name=a}", "8"),
        ("test.open{name=b}", "16"),
    ];
    let expected: BTreeMap<_, _> =
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    for collections in 1..=3 {
        assert_eq!(collect(&provider, &exporter), expected);
        assert_eq!((a.reads(), b.reads()), (collections, collections));
    }
}

#[test]
fn instruments_have_the_unit_and_the_description_of_their_metric() {
    let exporter = InMemoryMetricExporter::default();
    let provider = provider(&[&exporter]);
    Registry::new().add(TestHandle::new("a", 1)).register(&provider.meter("test"));
    provider.force_flush().unwrap();
    let seen = latest(&exporter, &|metric| {
        vec![(metric.unit().to_owned(), metric.description().to_owned())]
    });
    assert_eq!(seen["test.calls{{call}}"], "Calls.");
    assert_eq!(seen["test.delay{s}"], "Delay.");
}

#[test]
fn handle_that_is_added_after_the_registration_is_observed() {
    let exporter = InMemoryMetricExporter::default();
    let provider = provider(&[&exporter]);
    let registry = Registry::new();
    registry.register(&provider.meter("test"));
    assert_eq!(collect(&provider, &exporter).len(), 0);
    drop(registry.clone().add(TestHandle::new("a", 1)));
    assert_eq!(collect(&provider, &exporter).len(), 5);
    drop(registry.add(TestHandle::new("b", 1)));
    assert_eq!(collect(&provider, &exporter).len(), 10, "and after the registry is gone");
}

#[test]
fn each_of_two_readers_sees_present_numbers() {
    let (first, second) = (InMemoryMetricExporter::default(), InMemoryMetricExporter::default());
    let provider = provider(&[&first, &second]);
    let handle = TestHandle::new("a", 8);
    Registry::new().add(handle.clone()).register(&provider.meter("test"));
    for collections in 1..=2 {
        first.reset();
        second.reset();
        provider.force_flush().unwrap();
        for exporter in [&first, &second] {
            let seen = latest(exporter, &|metric| points(metric.data()));
            assert_eq!(seen["test.calls{name=a}"], "8");
            assert_eq!(seen.len(), 5);
        }
        assert_eq!(handle.reads(), 2 * collections, "one reading for each reader");
    }
}

#[tokio::test(start_paused = true)]
async fn sink_records_durations_by_verdict() {
    let exporter = InMemoryMetricExporter::default();
    let provider = provider(&[&exporter]);
    let sink = OpenTelemetrySink::new(&provider.meter("test"));
    let layer = MeterLayer::attempt(sink).named("payments");
    let service = ServiceBuilder::new().layer(layer).service_fn(async |wait: u64| {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if wait < 500 { Ok(wait) } else { Err(BoxError::from("slow")) }
    });
    for wait in [250, 125, 500] {
        drop(service.clone().oneshot(wait).await);
    }
    let expected = BTreeMap::from([
        (
            "buttress.attempt.duration{name=payments,verdict=success}".to_owned(),
            "2 in 0.375".to_owned(),
        ),
        (
            "buttress.attempt.duration{name=payments,verdict=transient}".to_owned(),
            "1 in 0.5".to_owned(),
        ),
    ]);
    assert_eq!(collect(&provider, &exporter), expected);
}

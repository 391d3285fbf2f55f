//! Counters, gauges and histograms of the crate `metrics`.

mod support;

use std::{collections::BTreeMap, time::Duration};

use buttress_core::BoxError;
use buttress_metrics::{MeterLayer, MetricsSink, Registry};
use metrics::{Unit, with_local_recorder};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use support::TestHandle;
use tower::{ServiceBuilder, ServiceExt};

/// Each series as `name{labels}`, with its value.
fn series(snapshotter: &Snapshotter) -> BTreeMap<String, DebugValue> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| {
        let key = key.key();
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    })
    .collect()
}

fn count(number: u64) -> DebugValue {
    DebugValue::Counter(number)
}

fn gauge(value: f64) -> DebugValue {
    DebugValue::Gauge(value.into())
}

#[test]
fn publish_sets_counters_and_gauges_with_name_and_label() {
    let recorder = DebuggingRecorder::new();
    let registry = Registry::new().add(TestHandle::new("a", 8)).add(TestHandle::new("b", 16));
    let expected = BTreeMap::from(
        [
            ("test.calls{name=a}", count(8)),
            ("test.calls{name=b}", count(16)),
            ("test.delay{name=a}", gauge(1.0)),
            ("test.delay{name=b}", gauge(2.0)),
            ("test.failed{name=a,reason=broken}", count(16)),
            ("test.failed{name=a,reason=late}", count(24)),
            ("test.failed{name=b,reason=broken}", count(32)),
            ("test.failed{name=b,reason=late}", count(48)),
            ("test.open{name=a}", gauge(8.0)),
            ("test.open{name=b}", gauge(16.0)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    for _ in 0..2 {
        with_local_recorder(&recorder, || registry.publish());
        assert_eq!(series(&recorder.snapshotter()), expected);
    }
}

#[test]
fn publish_describes_each_metric_with_its_unit() {
    let recorder = DebuggingRecorder::new();
    with_local_recorder(&recorder, || Registry::new().add(TestHandle::new("a", 1)).publish());
    let mut seen = BTreeMap::new();
    for (key, unit, description, _) in recorder.snapshotter().snapshot().into_vec() {
        seen.insert(key.key().name().to_owned(), (unit, description.map(|text| text.to_string())));
    }
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(seen["test.calls"], (Some(Unit::Count), text("Calls.")));
    assert_eq!(seen["test.delay"], (Some(Unit::Seconds), text("Delay.")));
}

#[test]
fn recorder_that_is_installed_later_gets_all_numbers() {
    let registry = Registry::new().add(TestHandle::new("a", 8));
    registry.publish();
    let recorder = DebuggingRecorder::new();
    with_local_recorder(&recorder, || registry.publish());
    assert_eq!(series(&recorder.snapshotter())["test.calls{name=a}"], count(8));
}

/// The description of a metric is kept by the recorder, and may allocate there.
#[test]
fn second_publish_allocates_nothing_for_readings() {
    let registry = Registry::new().add(TestHandle::new("a", 8)).add(TestHandle::new("b", 8));
    registry.publish();
    // Without a recorder, so that only the registry's own allocations count. One is for the names
    // that are described.
    let allocations = allocation_counter::measure(|| registry.publish());
    assert!(allocations.count_total <= 1, "{}", allocations.count_total);
}

#[test]
fn sink_records_durations_by_verdict() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let recorder = DebuggingRecorder::new();
    with_local_recorder(&recorder, || {
        runtime.unwrap().block_on(async {
            let layer = MeterLayer::call(MetricsSink::new()).named("payments");
            let service = ServiceBuilder::new().layer(layer).service_fn(async |wait: u64| {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                if wait < 500 { Ok(wait) } else { Err(BoxError::from("slow")) }
            });
            for wait in [250, 125, 500] {
                drop(service.clone().oneshot(wait).await);
            }
        });
    });
    let histogram = |values: &[f64]| {
        DebugValue::Histogram(values.iter().map(|value| (*value).into()).collect())
    };
    assert_eq!(
        series(&recorder.snapshotter()),
        BTreeMap::from([
            (
                "buttress.call.duration{name=payments,verdict=success}".into(),
                histogram(&[0.25, 0.125])
            ),
            ("buttress.call.duration{name=payments,verdict=transient}".into(), histogram(&[0.5])),
        ])
    );
}

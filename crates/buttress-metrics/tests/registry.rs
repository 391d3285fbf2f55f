//! A set of handles that is read together.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use buttress_core::{Measure, Metric, MetricValue, Reading};
use buttress_metrics::Registry;
use support::{CALLS, OPEN, TestHandle};

/// Each reading as `name{instance,label} value`.
fn read(registry: &Registry) -> Vec<String> {
    let mut readings = Vec::new();
    registry.read(|reading| {
        let (name, instance) = (reading.metric().name(), reading.instance());
        let label =
            reading.label().map_or(String::new(), |(name, value)| format!(",{name}={value}"));
        let value = match reading.value() {
            MetricValue::Count(count) => count.to_string(),
            MetricValue::Gauge(gauge) => format!("{gauge:.3}"),
            other => format!("{other:?}"),
        };
        readings.push(format!("{name}{{{instance}{label}}} {value}"));
    });
    readings
}

fn names(describe: impl FnOnce(&mut dyn FnMut(&'static Metric))) -> Vec<&'static str> {
    let mut names = Vec::new();
    describe(&mut |metric| names.push(metric.name()));
    names
}

#[test]
fn registry_reads_all_handles_in_the_order_in_which_they_were_added() {
    let registry = Registry::new().add(TestHandle::new("b", 1)).add(TestHandle::new("a", 2));
    let of = |name: &str, calls: u64| {
        let gauge = |divisor: u32| f64::from(u32::try_from(calls).unwrap()) / f64::from(divisor);
        [
            format!("test.calls{{{name}}} {calls}"),
            format!("test.failed{{{name},reason=broken}} {}", 2 * calls),
            format!("test.failed{{{name},reason=late}} {}", 3 * calls),
            format!("test.open{{{name}}} {:.3}", gauge(1)),
            format!("test.delay{{{name}}} {:.3}", gauge(8)),
        ]
    };
    let expected: Vec<_> = [of("b", 1), of("a", 2)].concat();
    assert_eq!(read(&registry), expected);
    assert_eq!(read(&registry), expected, "a second reading adds nothing up");
}

#[test]
fn numbers_of_handles_with_the_same_name_are_added_up() {
    let registry = Registry::new().add(TestHandle::new("a", 16)).add(TestHandle::new("a", 8));
    assert_eq!(
        read(&registry),
        [
            "test.calls{a} 24",
            "test.failed{a,reason=broken} 48",
            "test.failed{a,reason=late} 72",
            "test.open{a} 24.000",
            // A time is not added up: the largest counts.
            "test.delay{a} 2.000",
        ]
    );
}

#[test]
fn sum_of_counters_saturates() {
    let registry =
        Registry::new().add(One(&CALLS, u64::MAX)).add(One(&CALLS, 1)).add(One(&CALLS, 1));
    assert_eq!(read(&registry), [format!("test.calls{{one}} {}", u64::MAX)]);
}

#[test]
fn definitions_are_passed_once_per_name() {
    let registry = Registry::new().add(TestHandle::new("a", 1)).add(TestHandle::new("b", 1));
    let all = ["test.calls", "test.failed", "test.open", "test.delay"];
    assert_eq!(names(|define| registry.describe(define)), all);
}

#[test]
fn clones_share_the_handles() {
    let registry = Registry::new();
    assert!(read(&registry).is_empty());
    let clone = registry.clone();
    drop(clone.add(One(&CALLS, 7)));
    assert_eq!(read(&registry), ["test.calls{one} 7"]);
}

/// The definition that came first holds.
#[test]
fn value_of_another_kind_than_its_definition_is_left_out() {
    static GAUGE_OF_SAME_NAME: Metric = Metric::gauge("test.calls", "{call}", "Another.");
    let registry = Registry::new().add(One(&CALLS, 7)).add(One(&GAUGE_OF_SAME_NAME, 100));
    assert_eq!(read(&registry), ["test.calls{one} 7"]);
}

#[test]
fn metric_that_is_no_longer_reported_is_not_read() {
    struct Sometimes(std::sync::atomic::AtomicBool);
    impl Measure for Sometimes {
        fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
            define(&OPEN);
        }
        fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
            if self.0.swap(false, std::sync::atomic::Ordering::Relaxed) {
                read(Reading::number(&OPEN, "x", 1));
            }
        }
    }
    let registry = Registry::new().add(Sometimes(true.into()));
    assert_eq!(read(&registry), ["test.open{x} 1.000"]);
    assert!(read(&registry).is_empty());
}

/// The handle and the reader are user code: neither runs under a lock.
#[test]
fn panic_of_a_reader_or_a_handle_leaves_the_registry_usable() {
    struct Panics;
    impl Measure for Panics {
        fn describe(&self, _: &mut dyn FnMut(&'static Metric)) {}
        fn measure(&self, _: &mut dyn FnMut(Reading<'_>)) {
            panic!("a handle");
        }
    }
    let registry = Registry::new().add(One(&CALLS, 7));
    let reading = || registry.read(|_| panic!("a reader"));
    assert!(catch_unwind(AssertUnwindSafe(reading)).is_err());
    assert_eq!(read(&registry), ["test.calls{one} 7"]);
    registry.read(|_| assert_eq!(read(&registry.clone().add(One(&OPEN, 1))).len(), 2));
    let registry = registry.add(Panics);
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| read(&registry))).is_err());
    }
}

#[test]
fn second_reading_allocates_nothing() {
    let registry = Registry::new().add(TestHandle::new("a", 1)).add(TestHandle::new("b", 2));
    registry.read(|_| {});
    let mut count = 0;
    let allocations = allocation_counter::measure(|| registry.read(|_| count += 1));
    assert_eq!((allocations.count_total, count), (0, 10));
}

struct One(&'static Metric, u64);

impl Measure for One {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        define(self.0);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        read(match self.0.kind() {
            buttress_core::MetricKind::Counter => Reading::count(self.0, "one", self.1),
            _ => Reading::number(self.0, "one", self.1),
        });
    }
}

//! Duration and verdict of calls, in `Plain` mode.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{
    BoxError, Deadline, Measure, MetricValue, Origin, Reason, Rejection, Signals, Spent, Verdict,
};
use buttress_metrics::{CallEnd, CallRecord, MeterLayer, Record, Registry, Subject};
use buttress_testkit::{Probe, contract, sweep};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// The records of a sink: subject, instance, end, duration, retries, hedges.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Row>>>);

type Row = (Subject, String, CallEnd, Duration, u16, u16);

impl Records {
    fn take(&self) -> Vec<Row> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn ends(&self) -> Vec<CallEnd> {
        self.take().into_iter().map(|(_, _, end, ..)| end).collect()
    }
}

impl Record for Records {
    fn record(&self, call: &CallRecord<'_>) {
        let CallRecord { subject, instance, end, duration, retries, hedges, .. } = *call;
        self.0.lock().unwrap().push((subject, instance.into(), end, duration, retries, hedges));
    }
}

#[tokio::test(start_paused = true)]
async fn meter_keeps_the_contract() {
    contract(|| MeterLayer::call(())).await;
    contract(|| MeterLayer::attempt(Records::default()).until_head()).await;
    contract(|| (MeterLayer::call(()), MeterLayer::attempt(()).per_service())).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_nothing_behind() {
    let probe = Probe::new(Ok::<u32, BoxError>).permits(1).pausing(3);
    let layer = MeterLayer::call(());
    let handle = layer.handle();
    let service = layer.layer(probe.clone());
    let drops = sweep(|| service.clone().oneshot(1))
        .over(&probe)
        .also(|at| {
            let snapshot = handle.snapshot();
            assert_eq!(snapshot.in_flight, 0, "{at}");
            let ended = snapshot.ended(CallEnd::Success) + snapshot.ended(CallEnd::Dropped);
            assert_eq!(snapshot.begun, ended, "{at}");
        })
        .await;
    assert!(drops > 3, "{drops}");
    assert!(handle.ended(CallEnd::Dropped) > 0);
}

#[tokio::test(start_paused = true)]
async fn sink_gets_subject_name_end_and_duration() {
    let records = Records::default();
    for (layer, subject) in [
        (MeterLayer::call(records.clone()), Subject::Call),
        (MeterLayer::attempt(records.clone()), Subject::Attempt),
    ] {
        let service = ServiceBuilder::new().layer(layer.named("db")).service_fn(async |wait| {
            sleep(wait).await;
            Ok::<_, BoxError>(())
        });
        service.oneshot(3 * SECOND).await.unwrap();
        let expected = (subject, "db".to_owned(), CallEnd::Success, 3 * SECOND, 0, 0);
        assert_eq!(records.take(), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_verdict_has_its_label() {
    let rejection = || Rejection::new(Reason::Overloaded, Origin::new("throttle"));
    let verdicts = [
        (Verdict::Success, CallEnd::Success, "success"),
        (Verdict::Transient, CallEnd::Transient, "transient"),
        (Verdict::TimedOut, CallEnd::TimedOut, "timed_out"),
        (Verdict::Throttled(None), CallEnd::Throttled, "throttled"),
        (Verdict::Permanent, CallEnd::Permanent, "permanent"),
        (Verdict::Unknown, CallEnd::Unknown, "unknown"),
        (Verdict::Expired, CallEnd::Expired, "expired"),
        (Verdict::NeverProcessed, CallEnd::NeverProcessed, "never_processed"),
        (Verdict::from_rejection(&rejection()), CallEnd::Rejected, "rejected"),
    ];
    let mut labels = Vec::new();
    for (verdict, end, label) in verdicts {
        let records = Records::default();
        let layer = MeterLayer::call(records.clone()).classify(move |_: Result<&_, &_>| verdict);
        let handle = layer.handle();
        let service = layer.layer(service_fn(async |_: u32| Ok::<u32, BoxError>(1)));
        service.oneshot(1).await.unwrap();
        assert_eq!(records.ends(), [end]);
        assert_eq!((end.as_str(), handle.ended(end)), (label, 1));
        labels.push(end);
    }
    labels.push(CallEnd::Dropped);
    assert_eq!(CallEnd::ALL, labels, "all ends");
    assert!(CallEnd::ALL.iter().enumerate().all(|(at, end)| *end as usize == at));
}

#[tokio::test(start_paused = true)]
async fn rejection_of_an_inner_layer_is_rejected_and_a_timed_out_attempt_timed_out() {
    let records = Records::default();
    let service = MeterLayer::call(records.clone()).layer(service_fn(async |late: bool| {
        let reason = if late { Reason::DeadlineExceeded } else { Reason::CircuitOpen };
        let why = Rejection::new(reason, Origin::new("inner")).enforcing(Deadline::after(SECOND));
        Err::<(), BoxError>(why.into())
    }));
    drop(service.clone().oneshot(false).await);
    drop(service.oneshot(true).await);
    assert_eq!(records.ends(), [CallEnd::Rejected, CallEnd::TimedOut]);
}

#[tokio::test(start_paused = true)]
async fn retries_and_hedges_of_the_call_are_recorded_and_stay_visible_outside() {
    let records = Records::default();
    let mut service = MeterLayer::call(records.clone()).layer(service_fn(async |spent: bool| {
        if spent {
            Signals::raise_spent(Spent::new(2, 1));
        }
        Ok::<_, BoxError>(())
    }));
    let ((), outside) = {
        let call = service.ready().await.unwrap().call(true);
        let mut call = tokio_test::task::spawn(call);
        Signals::watch(|| assert!(call.poll().is_ready()))
    };
    assert_eq!(outside.spent, Spent::new(2, 1));
    service.oneshot(false).await.unwrap();
    let spent: Vec<_> =
        records.take().iter().map(|&(.., retries, hedges)| (retries, hedges)).collect();
    assert_eq!(spent, [(2, 1), (0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn signals_of_an_earlier_call_are_not_those_of_this_call() {
    let records = Records::default();
    let service = MeterLayer::call(records.clone());
    let service = service.layer(service_fn(async |(): ()| Ok::<_, BoxError>(())));
    let mut call = tokio_test::task::spawn(service.oneshot(()));
    let ((), outside) = Signals::watch(|| {
        Signals::raise_spent(Spent::new(7, 0));
        assert!(call.poll().is_ready());
    });
    assert_eq!(outside.spent, Spent::new(7, 0));
    assert_eq!(records.take()[0].4, 0);
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_service_ends_the_call_as_dropped() {
    let records = Records::default();
    let layer = MeterLayer::call(records.clone());
    let handle = layer.handle();
    let mut in_call =
        layer.layer(service_fn(|_: u32| -> std::future::Ready<Result<u32, BoxError>> {
            panic!("in call")
        }));
    assert!(catch_unwind(AssertUnwindSafe(|| in_call.call(1))).is_err());
    let in_poll =
        layer.layer(service_fn(async |_: u32| -> Result<u32, BoxError> { panic!("in poll") }));
    let mut call = tokio_test::task::spawn(in_poll.oneshot(1));
    assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
    drop(call);
    assert_eq!(records.ends(), [CallEnd::Dropped; 2]);
    assert_eq!((handle.begun(), handle.in_flight()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_sink_leaves_no_count_behind() {
    let layer = MeterLayer::call(|_: &CallRecord<'_>| panic!("a sink"));
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(async |panics: bool| {
        assert!(!panics, "a service");
        Ok::<_, BoxError>(())
    }));
    // At the end of a call, at the drop of one, and at a drop while the service's panic unwinds.
    for (panics, polls) in [(false, true), (false, false), (true, true)] {
        let mut call = Some(tokio_test::task::spawn(service.call(panics)));
        let run = || {
            if let Some(mut call) = call.take().filter(|_| polls) {
                drop(call.poll());
            }
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.begun, snapshot.in_flight), (3, 0));
    assert_eq!(snapshot.ended(CallEnd::Success), 1);
    assert_eq!(snapshot.ended(CallEnd::Dropped), 2);
}

#[tokio::test(start_paused = true)]
async fn services_share_the_counts_unless_per_service() {
    let layer = MeterLayer::call(());
    let service = || service_fn(async |n: u32| Ok::<_, BoxError>(n));
    let (a, b) = (layer.layer(service()), layer.clone().named("b").layer(service()));
    a.clone().oneshot(1).await.unwrap();
    b.oneshot(1).await.unwrap();
    assert_eq!((layer.handle().begun(), a.handle().begun()), (2, 2));
    let layer = layer.per_service();
    let (a, b) = (layer.layer(service()), layer.layer(service()));
    a.clone().oneshot(1).await.unwrap();
    assert_eq!((a.handle().begun(), b.handle().begun(), layer.handle().begun()), (1, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn handle_reports_begun_calls_ends_and_calls_in_flight() {
    let layer = MeterLayer::attempt(()).named("db");
    let registry = Registry::new().add(layer.handle());
    let service = layer.layer(service_fn(async |wait: Duration| {
        sleep(wait).await;
        Ok::<_, BoxError>(())
    }));
    service.clone().oneshot(SECOND).await.unwrap();
    let mut pending = tokio_test::task::spawn(service.oneshot(SECOND));
    assert!(pending.poll().is_pending());
    let mut readings = Vec::new();
    registry.read(|reading| {
        assert_eq!(reading.instance(), "db");
        let label = reading.label().map_or("", |(_, value)| value);
        if !matches!(reading.value(), MetricValue::Count(0)) {
            readings.push((reading.metric().name(), label, reading.value()));
        }
    });
    assert_eq!(
        readings,
        [
            ("buttress.attempt.begun", "", MetricValue::Count(2)),
            ("buttress.attempt.ended", "success", MetricValue::Count(1)),
            ("buttress.attempt.in_flight", "", MetricValue::Gauge(1.0)),
        ]
    );
    let mut described = 0;
    layer.handle().describe(&mut |_| described += 1);
    assert_eq!(described, 3);
}

#[tokio::test]
async fn calls_of_many_threads_are_all_counted() {
    let layer = MeterLayer::call(());
    let handle = layer.handle();
    let service = layer.layer(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    std::thread::scope(|threads| {
        for _ in 0..12 {
            let service = service.clone();
            threads.spawn(move || {
                for _ in 0..1000 {
                    let mut call = tokio_test::task::spawn(service.clone().oneshot(1));
                    assert!(call.poll().is_ready());
                    let snapshot = service.handle().snapshot();
                    let ended: u64 = CallEnd::ALL.iter().map(|end| snapshot.ended(*end)).sum();
                    assert_eq!(snapshot.begun, ended + snapshot.in_flight);
                }
            });
        }
    });
    assert_eq!((handle.begun(), handle.ended(CallEnd::Success)), (12_000, 12_000));
    assert_eq!(handle.in_flight(), 0);
}

#[test]
fn call_allocates_nothing() {
    let service = MeterLayer::call(()).layer(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    let call = || {
        let mut service = service.clone();
        let call = std::pin::pin!(service.call(1));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.poll(&mut context).is_ready());
    };
    call();
    assert_eq!(allocation_counter::measure(call).count_total, 0);
}

//! The handle: settings that change while calls run, all or nothing.
#![expect(clippy::disallowed_methods, reason = "the callers of a test run as tasks")]

use std::{sync::Arc, time::Duration};

use buttress_control::{Backoff, Gradient2, Jitter, Rate, Ratio};
use buttress_core::{BoxError, Deadline, Measure, Reading, Rejection};
use buttress_stack::{
    BreakerLayer, ClientConfig, ClientHandle, Custom, DeadlineLayer, DedupLayer, FallbackLayer,
    HedgeLayer, OrderLayer, RetryLayer, ServerConfig, ThrottleLayer, client, client_for_http,
    server,
};
use buttress_testkit::Probe;
use tokio::time::{Instant, sleep};
use tower::{
    ServiceExt, service_fn,
    util::{BoxCloneSyncService, MapRequestLayer},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn config(change: impl FnOnce(&mut ClientConfig)) -> ClientConfig {
    let mut config = ClientConfig::default();
    change(&mut config);
    config
}

#[test]
fn handle_shows_the_settings_of_all_layers() {
    let handle = client_for_http().hedge(HedgeLayer::learned()).handle();
    let shown = handle.config();
    assert_eq!(shown.deadline.timeout, Some(30 * SECOND));
    assert_eq!(shown.retry.attempts, Some(4));
    assert_eq!(shown.retry.backoff.base, Some(2 * SECOND));
    assert_eq!(shown.retry.backoff.max, Some(30 * SECOND));
    assert_eq!(shown.hedge.after, None);
    assert_eq!(shown.hedge.quantile, Some(Ratio::percent(95)));
    assert_eq!(shown.hedge.least, Some(10 * MS));
    assert_eq!(shown.hedge.at_most, Some(1));
    assert_eq!(shown.breaker.failures, Some(Ratio::percent(10)));
    assert_eq!(shown.breaker.minimum, Some(100));
    assert_eq!(shown.breaker.slow.limit, None);
    assert_eq!(shown.breaker.window, Some(30 * SECOND));
    assert_eq!(shown.breaker.open_for.base, Some(5 * SECOND));
    assert_eq!(shown.breaker.open_for.max, None);
    assert_eq!(shown.breaker.ramp.shares, Some([10, 25, 50].map(Ratio::percent).to_vec()));
    assert_eq!(shown.concurrency.limit, Some(1000));
    assert_eq!(shown.concurrency.queue, Some(0));
    assert_eq!(shown.rate.calls, None);
    assert_eq!(shown.attempt.timeout, Some(10 * SECOND));
    assert_eq!((handle.preset(), handle.name()), ("client_for_http", "client"));
    let text = format!("{handle:?}");
    assert!(text.contains("client_for_http") && text.contains("attempts"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn services_made_before_and_after_follow_the_settings() {
    let client = client();
    let handle = client.handle();
    let hang = || service_fn(|_: u32| std::future::pending::<Result<u32, BoxError>>());
    let before = client.service(hang());
    handle
        .apply(&config(|config| {
            config.attempt.timeout = Some(SECOND);
            config.retry.attempts = Some(1);
        }))
        .unwrap();
    for service in [before, client.service(hang())] {
        let start = Instant::now();
        service.oneshot(7).await.unwrap_err();
        assert_eq!(start.elapsed(), SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn each_setting_reaches_its_layer() {
    let handle = client().hedge(HedgeLayer::learned()).handle();
    let wanted = config(|config| {
        config.deadline.timeout = Some(20 * SECOND);
        config.retry.attempts = Some(7);
        config.retry.backoff.base = Some(30 * MS);
        config.retry.backoff.max = Some(3 * SECOND);
        config.hedge.quantile = Some(Ratio::percent(99));
        config.hedge.least = Some(20 * MS);
        config.hedge.at_most = Some(2);
        config.breaker.failures = Some(Ratio::percent(30));
        config.breaker.minimum = Some(50);
        config.breaker.consecutive = Some(9);
        config.breaker.slow.limit = Some(SECOND);
        config.breaker.slow.ratio = Some(Ratio::percent(80));
        config.breaker.window = Some(60 * SECOND);
        config.breaker.open_for.base = Some(2 * SECOND);
        config.breaker.open_for.max = Some(40 * SECOND);
        config.breaker.probes = Some(7);
        config.breaker.needed = Some(4);
        config.breaker.ramp.stage = Some(2 * SECOND);
        config.breaker.ramp.shares = Some(vec![Ratio::percent(20)]);
        config.breaker.probe_patience = Some(25 * SECOND);
        config.concurrency.limit = Some(500);
        config.concurrency.queue = Some(40);
        config.concurrency.max_wait = Some(SECOND);
        config.attempt.timeout = Some(5 * SECOND);
    });
    handle.apply(&wanted).unwrap();
    assert_eq!(handle.config(), wanted);

    let handle = client().throttle(ThrottleLayer::rate(Rate::per_second(10))).handle();
    let wanted = config(|config| {
        config.rate.calls = Some(100);
        config.rate.per = Some(60 * SECOND);
        config.rate.burst = Some(5);
        config.rate.queue = Some(3);
        config.rate.max_wait = Some(SECOND);
    });
    handle.apply(&wanted).unwrap();
    assert_eq!(handle.config().rate, wanted.rate);
}

#[test]
fn curve_and_jitter_of_a_backoff_stay_those_of_the_program() {
    let backoff = Backoff::linear(SECOND, 9 * SECOND).jitter(Jitter::None);
    let retry = RetryLayer::new(3).backoff(backoff);
    let layer = retry.handle();
    let handle = client().retry(retry).handle();
    handle.apply(&config(|config| config.retry.backoff.base = Some(2 * SECOND))).unwrap();
    assert_eq!(layer.backoff(), backoff.between(2 * SECOND, 9 * SECOND));
}

#[test]
fn present_settings_change_nothing_when_they_are_applied_with_the_longest_backoffs() {
    let years = 365 * 24 * 3600 * SECOND;
    for cap in [29 * years, 30 * years, Deadline::NEVER, 31 * years, 584 * years, Duration::MAX] {
        let backoff = Backoff::exponential(SECOND, cap);
        let (retry, breaker) = (RetryLayer::new(3), BreakerLayer::new());
        let (retry, breaker) =
            (retry.backoff(backoff), breaker.window(30 * SECOND).open_for(backoff));
        let (retries, circuit) = (retry.handle(), breaker.handle());
        let handle = client().retry(retry).breaker(breaker).handle();
        let (settings, rules) = (handle.config(), circuit.rules());
        handle.apply(&settings).unwrap();
        assert_eq!(retries.backoff(), backoff, "{cap:?}");
        assert_eq!(circuit.rules(), rules, "{cap:?}");
        handle.apply(&config(|config| config.retry.backoff.max = Some(9 * SECOND))).unwrap();
        handle.apply(&ClientConfig::default()).unwrap();
        assert_eq!(retries.backoff(), backoff, "{cap:?}");
    }
}

#[test]
fn setting_that_is_left_out_goes_back_to_the_value_of_the_program() {
    let client = client().edit_retry(|_| RetryLayer::new(5)).edit_deadline(|_| {
        // No timeout of its own.
        DeadlineLayer::propagate()
    });
    let handle = client.handle();
    let built = handle.config();
    assert_eq!(built.deadline.timeout, None);
    handle
        .apply(&config(|config| {
            config.retry.attempts = Some(2);
            config.deadline.timeout = Some(25 * SECOND);
            config.breaker.slow.limit = Some(SECOND);
            config.breaker.slow.ratio = Some(Ratio::percent(80));
            config.concurrency.max_wait = Some(SECOND);
        }))
        .unwrap();
    // A handle that is made later knows the values of the program too.
    client.handle().apply(&ClientConfig::default()).unwrap();
    assert_eq!(handle.config(), built);
}

#[test]
fn hedge_changes_between_a_fixed_and_a_learned_delay() {
    let handle = client().hedge(HedgeLayer::after(50 * MS)).handle();
    handle.apply(&config(|config| config.hedge.quantile = Some(Ratio::percent(90)))).unwrap();
    let hedge = handle.config().hedge;
    assert_eq!((hedge.after, hedge.least), (None, Some(10 * MS)));
    handle.apply(&config(|config| config.hedge.after = Some(70 * MS))).unwrap();
    let hedge = handle.config().hedge;
    assert_eq!((hedge.after, hedge.quantile), (Some(70 * MS), None));
}

#[test]
fn wrong_settings_change_nothing_and_all_are_named() {
    let client = client();
    let handle = client.handle();
    let before = handle.config();
    let misfits = handle
        .apply(&config(|config| {
            config.retry.attempts = Some(0);
            config.breaker.window = Some(SECOND);
            config.attempt.timeout = Some(40 * SECOND);
            config.hedge.at_most = Some(1);
            config.rate.calls = Some(5);
            config.deadline.timeout = Some(20 * SECOND);
        }))
        .unwrap_err();
    let settings: Vec<Vec<_>> = misfits.iter().map(|misfit| misfit.settings().collect()).collect();
    assert_eq!(
        settings,
        [
            vec!["hedge"],
            vec!["rate"],
            vec!["retry.attempts"],
            vec!["attempt.timeout", "deadline.timeout"],
            vec!["breaker.window", "attempt.timeout"],
            vec!["breaker.probe_patience", "attempt.timeout"],
        ]
    );
    assert_eq!(misfits.to_string().lines().count(), 6);
    assert_eq!(handle.config(), before);
}

#[test]
fn sections_without_a_layer_name_the_place() {
    let foreign = MapRequestLayer::new(|row: u32| row);
    let client = client().breaker(Custom(foreign)).without_retry();
    let change = config(|config| {
        config.breaker.minimum = Some(5);
        config.retry.attempts = Some(5);
    });
    let misfits = client.handle().apply(&change).unwrap_err();
    let text = misfits.to_string();
    assert!(text.contains("retry: The place `retry` of this stack"), "{text}");
    assert!(text.contains("breaker: The place `breaker` of this stack"), "{text}");
}

#[test]
fn adaptive_limit_has_a_queue_to_set_and_no_limit() {
    let client = client().throttle(ThrottleLayer::adaptive(Gradient2::default()).queue(10));
    let handle = client.handle();
    handle.apply(&config(|config| config.concurrency.queue = Some(20))).unwrap();
    assert_eq!(handle.config().concurrency.queue, Some(20));
    let change = config(|config| config.concurrency.limit = Some(20));
    let misfits = handle.apply(&change).unwrap_err();
    assert_eq!(misfits.iter().next().unwrap().settings().next(), Some("concurrency.limit"));
}

#[tokio::test(start_paused = true)]
async fn limits_and_circuits_of_all_keys_change() {
    let key = |row: &u32| Some(*row);
    let limit = ThrottleLayer::concurrency(1).keyed(key);
    let (throttle, breaker) = (limit.handle(), BreakerLayer::new().keyed(key));
    let circuits = breaker.handle();
    let client = client().throttle(limit).edit_breaker(|_| breaker.window(30 * SECOND));
    let handle = client.handle();
    let slow = client.service(service_fn(|row: u32| async move {
        sleep(SECOND).await;
        Ok::<_, BoxError>(row)
    }));
    let call = tokio::spawn(slow.oneshot(7));
    sleep(MS).await;
    handle.apply(&config(|config| config.concurrency.limit = Some(3))).unwrap();
    assert_eq!(throttle.for_key(&7).unwrap().limit(), 3);
    assert_eq!(throttle.limit(), 3);
    call.await.unwrap().unwrap();
    drop(circuits);
    handle.apply(&config(|config| config.breaker.consecutive = Some(9))).unwrap();
    assert_eq!(handle.config().breaker.consecutive, Some(9));
}

#[tokio::test(start_paused = true)]
async fn raised_limit_admits_waiting_calls() {
    let client = client().throttle(ThrottleLayer::concurrency(1).queue(10));
    let service = client.service(service_fn(|row: u32| async move {
        sleep(SECOND).await;
        Ok::<_, BoxError>(row)
    }));
    let start = Instant::now();
    let calls: Vec<_> = (0..4).map(|row| tokio::spawn(service.clone().oneshot(row))).collect();
    sleep(MS).await;
    client.handle().apply(&config(|config| config.concurrency.limit = Some(4))).unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), SECOND + MS);
}

#[tokio::test(start_paused = true)]
async fn changes_under_load_lose_no_call() {
    let client =
        client().hedge(HedgeLayer::after(5 * MS)).edit_throttle(|limit| limit.queue(2_000));
    let handle = client.handle();
    let service = client.service(service_fn(|row: u32| async move {
        sleep(Duration::from_millis(u64::from(row % 10))).await;
        Ok::<_, BoxError>(row)
    }));
    let service = BoxCloneSyncService::new(service);
    let calls: Vec<_> = (0..2_000u32)
        .map(|row| {
            let service = service.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(u64::from(row / 10))).await;
                service.oneshot(row).await
            })
        })
        .collect();
    for turn in 0..200u32 {
        handle
            .apply(&config(|config| {
                config.concurrency.limit = Some(1 + turn * 7 % 50);
                config.retry.attempts = Some(1 + turn % 5);
                config.attempt.timeout = Some(Duration::from_millis(2_000 + u64::from(turn)));
                config.hedge.after = Some(Duration::from_millis(1 + u64::from(turn % 9)));
                config.hedge.at_most = Some(turn % 3);
                config.breaker.minimum = Some(1 + turn);
            }))
            .unwrap();
        sleep(MS).await;
    }
    for (row, call) in (0..).zip(calls) {
        assert_eq!(call.await.unwrap().unwrap(), row);
    }
    let mut in_flight = 0.0;
    handle.measure(&mut |reading: Reading<'_>| {
        if reading.metric().name() == "buttress.throttle.in_flight"
            && let buttress_core::MetricValue::Gauge(number) = reading.value()
        {
            in_flight += number;
        }
    });
    assert_eq!(in_flight.to_bits(), 0.0f64.to_bits());
}

/// Each thread applies settings that belong together. Whatever the interleaving, the settings at the end
/// are all of one thread.
#[test]
fn settings_of_concurrent_changes_are_never_mixed() {
    for _ in 0..200 {
        let handle = client().handle();
        let threads: Vec<_> = (1..=4u32)
            .map(|number| {
                let handle: ClientHandle = handle.clone();
                std::thread::spawn(move || {
                    for turn in 0..20 {
                        let number = number * 100 + turn;
                        let change = config(|config| {
                            config.retry.attempts = Some(number);
                            config.concurrency.limit = Some(number);
                            config.concurrency.queue = Some(number);
                            config.breaker.minimum = Some(number);
                        });
                        handle.apply(&change).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let end = handle.config();
        let number = end.retry.attempts;
        assert_eq!(end.concurrency.limit, number);
        assert_eq!(end.concurrency.queue, number);
        assert_eq!(end.breaker.minimum, number);
    }
}

/// A waker may be user code, and may itself apply settings.
#[tokio::test(start_paused = true)]
async fn waker_that_applies_settings_does_not_block() {
    struct Applying(ClientHandle);
    impl std::task::Wake for Applying {
        fn wake(self: Arc<Self>) {
            self.0.apply(&config(|config| config.retry.attempts = Some(9))).unwrap();
        }
    }
    let client = client().throttle(ThrottleLayer::concurrency(0).queue(10));
    let handle = client.handle();
    let service = client.service(service_fn(|row: u32| async move { Ok::<_, BoxError>(row) }));
    let mut call = std::pin::pin!(service.oneshot(7));
    let waker = Arc::new(Applying(handle.clone())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(call.as_mut().poll(&mut cx).is_pending());
    handle.apply(&config(|config| config.concurrency.limit = Some(5))).unwrap();
    assert_eq!(handle.config().retry.attempts, Some(9));
}

#[tokio::test(start_paused = true)]
async fn handle_measures_all_nine_places_under_their_names() {
    let client = client()
        .named("payments")
        .fallback(FallbackLayer::value(0))
        .dedup(DedupLayer::new())
        .order(OrderLayer::serial(|row: &u32| Some(*row)))
        .hedge(HedgeLayer::learned());
    let handle = client.handle();
    client.service(Probe::new(Ok::<u32, BoxError>)).oneshot(7).await.unwrap();
    let mut names: Vec<String> = Vec::new();
    let mut defined = Vec::new();
    handle.describe(&mut |metric| defined.push(metric.name()));
    handle.measure(&mut |reading| {
        assert!(defined.contains(&reading.metric().name()));
        names.push(reading.instance().to_owned());
    });
    names.dedup();
    let places = [
        "fallback", "deadline", "dedup", "order", "retry", "hedge", "breaker", "throttle",
        "attempt",
    ];
    assert_eq!(names, places.map(|place| format!("payments.{place}")));
}

#[tokio::test(start_paused = true)]
async fn server_has_a_handle_too() {
    let server = server().named("checkout");
    let handle = server.handle();
    assert_eq!((handle.preset(), handle.name()), ("server", "checkout"));
    let mut change = ServerConfig::default();
    change.concurrency.limit = Some(0);
    assert!(handle.apply(&change).unwrap_err().to_string().starts_with("concurrency.limit: 0"));
    change.concurrency.limit = Some(1);
    change.deadline.timeout = Some(SECOND);
    handle.apply(&change).unwrap();
    let hang = service_fn(|_: u32| std::future::pending::<Result<u32, BoxError>>());
    let error = server.service(hang).oneshot(7).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Rejection>().unwrap().origin().name(), "checkout.deadline");
    let mut names = Vec::new();
    handle.measure(&mut |reading| names.push(reading.instance().to_owned()));
    names.dedup();
    assert_eq!(names, ["checkout.deadline", "checkout.throttle"]);
}

#[tokio::test(start_paused = true)]
async fn layer_per_service_follows_the_settings_in_services_made_later() {
    let client = client().edit_attempt(DeadlineLayer::per_service).without_retry();
    let handle = client.handle();
    let hang = || service_fn(|_: u32| std::future::pending::<Result<u32, BoxError>>());
    let before = client.service(hang());
    handle.apply(&config(|config| config.attempt.timeout = Some(SECOND))).unwrap();
    for (service, timeout) in [(before, 10 * SECOND), (client.service(hang()), SECOND)] {
        let start = Instant::now();
        service.oneshot(7).await.unwrap_err();
        assert_eq!(start.elapsed(), timeout);
    }
    handle.measure(&mut |reading: Reading<'_>| {
        if reading.metric().name() == "buttress.deadline.calls" {
            let calls = if reading.instance() == "client.attempt" { 0 } else { 2 };
            assert_eq!(reading.value(), buttress_core::MetricValue::Count(calls));
        }
    });
}

#[tokio::test(start_paused = true)]
async fn call_that_runs_keeps_its_deadline_and_follows_the_number_of_attempts() {
    let client = client().edit_retry(|retry| retry.backoff(Backoff::constant(SECOND)));
    let handle = client.handle();
    let fail = service_fn(|_: u32| async {
        sleep(2 * SECOND).await;
        Err::<u32, BoxError>("down".into())
    });
    let start = Instant::now();
    let call = tokio::spawn(client.service(fail).oneshot(7));
    sleep(SECOND).await;
    let short = config(|config| {
        config.deadline.timeout = Some(SECOND);
        config.attempt.timeout = Some(SECOND);
        config.retry.attempts = Some(1);
        config.retry.backoff.base = Some(MS);
    });
    handle.apply(&short).unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert!(error.downcast_ref::<Rejection>().is_none());
    assert_eq!(start.elapsed(), 2 * SECOND);
}

//! The ready-made client as a whole: its numbers, what is counted where, and outages in virtual time.

use std::{io, time::Duration};

use buttress_control::{Backoff, Ratio};
use buttress_core::{BoxError, Measure, MetricValue, Reason, Rejection};
use buttress_stack::{
    Budget, ClientHandle, DeadlineLayer, HedgeLayer, RetryLayer, ThrottleLayer, client,
    client_for_aws, client_for_grpc, client_for_http,
};
use buttress_testkit::{Events, Load, LoadReport, Probe, Weather, WeatherLayer, simulate};
use tokio::time::{Instant, advance, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The sum of a metric over its labels.
fn count(handle: &ClientHandle, instance: &str, name: &str) -> u64 {
    let mut sum = 0;
    handle.measure(&mut |reading| {
        if let (true, MetricValue::Count(count)) =
            (reading.instance() == instance && reading.metric().name() == name, reading.value())
        {
            sum += count;
        }
    });
    sum
}

fn reason(error: &BoxError) -> Option<(Reason, String)> {
    let rejection = Rejection::find(error)?;
    Some((rejection.reason(), rejection.origin().name().to_owned()))
}

/// CO-01: the numbers of .NET's `HttpStandardResilienceOptions`.
#[test]
fn client_for_http_has_the_numbers_of_dotnet() {
    let config = client_for_http().handle().config();
    assert_eq!((config.concurrency.limit, config.concurrency.queue), (Some(1000), Some(0)));
    assert_eq!(config.deadline.timeout, Some(30 * SECOND));
    assert_eq!(config.retry.attempts, Some(4));
    assert_eq!(config.retry.backoff.base, Some(2 * SECOND));
    assert_eq!(config.breaker.failures, Some(Ratio::percent(10)));
    assert_eq!(config.breaker.minimum, Some(100));
    assert_eq!(config.breaker.window, Some(30 * SECOND));
    assert_eq!(config.breaker.open_for.base, Some(5 * SECOND));
    assert_eq!(config.attempt.timeout, Some(10 * SECOND));
}

/// gRFC A6, and smithy-rs.
#[test]
fn presets_for_grpc_and_aws_have_the_budgets_of_their_models() {
    let grpc = client_for_grpc().handle();
    assert_eq!(grpc.config().retry.attempts, Some(5));
    assert_eq!(grpc.config().retry.backoff.base, Some(100 * MS));
    assert_eq!(grpc.config().retry.backoff.max, Some(SECOND));
    let aws = client_for_aws().handle();
    assert_eq!(aws.config().retry.attempts, Some(3));
    assert_eq!(aws.config().retry.backoff.base, Some(50 * MS));
    assert_eq!(aws.config().retry.backoff.max, Some(20 * SECOND));
    for (handle, tokens) in [(grpc, 10.0), (aws, 500.0)] {
        let mut budget = None;
        handle.measure(&mut |reading| {
            if let ("buttress.retry.budget", MetricValue::Gauge(tokens)) =
                (reading.metric().name(), reading.value())
            {
                budget = Some(tokens);
            }
        });
        assert_eq!(budget.map(f64::to_bits), Some(f64::to_bits(tokens)));
    }
}

/// CO-01: from the outside, deadline, retry, breaker, throttle, attempt. The event of each layer, in the
/// order in which the layers meet a call whose attempts hang.
#[tokio::test(start_paused = true)]
async fn layers_stand_in_the_standard_order() {
    let events = Events::record();
    let client = client()
        .deadline(DeadlineLayer::new(4 * SECOND))
        .attempt(DeadlineLayer::new(SECOND))
        .edit_retry(|retry| retry.backoff(Backoff::none()))
        .edit_breaker(|breaker| breaker.consecutive(3));
    let hang = service_fn(|_: u32| std::future::pending::<Result<u32, BoxError>>());
    client.service(hang).oneshot(7).await.unwrap_err();
    let names: Vec<_> = events.names().into_iter().filter(|name| *name != "stack.misfit").collect();
    let attempt = ["deadline.exceeded", "retry.attempt"];
    assert_eq!(
        names,
        [
            attempt.as_slice(),
            &["retry.scheduled"],
            &attempt,
            &["retry.scheduled"],
            &["deadline.exceeded", "breaker.opened", "retry.attempt", "retry.stopped"],
        ]
        .concat()
    );
    for event in events.named("deadline.exceeded") {
        assert_eq!(event.field("instance"), Some("client.attempt"));
    }
}

/// CO-03: three attempts are three calls of the breaker, and one call of the client.
#[tokio::test(start_paused = true)]
async fn attempts_are_counted_by_the_breaker_and_calls_by_the_client() {
    let client = client();
    let handle = client.handle();
    let fail = service_fn(|_: u32| async { Err::<u32, _>(BoxError::from("down")) });
    client.service(fail).oneshot(7).await.unwrap_err();
    assert_eq!(count(&handle, "client.deadline", "buttress.deadline.calls"), 1);
    assert_eq!(count(&handle, "client.retry", "buttress.retry.calls"), 1);
    assert_eq!(count(&handle, "client.retry", "buttress.retry.retries"), 2);
    assert_eq!(count(&handle, "client.throttle", "buttress.throttle.admitted"), 3);
    assert_eq!(count(&handle, "client.attempt", "buttress.deadline.calls"), 3);
}

/// CO-03: an attempt that times out is a failure of the service, and the end of the whole call is counted
/// once.
#[tokio::test(start_paused = true)]
async fn attempt_that_times_out_opens_the_circuit_and_the_deadline_is_counted_once() {
    let client = client().edit_breaker(|breaker| breaker.consecutive(3));
    let handle = client.handle();
    let hang = || service_fn(|_: u32| std::future::pending::<Result<u32, BoxError>>());
    client.service(hang()).oneshot(7).await.unwrap_err();
    // Waits between the attempts leave less than 10 s for the third, which the whole deadline ends.
    assert_eq!(count(&handle, "client.attempt", "buttress.deadline.exceeded"), 3);
    assert_eq!(count(&handle, "client.deadline", "buttress.deadline.exceeded"), 0);
    assert_eq!(count(&handle, "client.breaker", "buttress.breaker.opened"), 1);
}

/// CO-04: a rejection of a layer is no failure of the service, and says which layer rejected.
#[tokio::test(start_paused = true)]
async fn local_rejections_never_open_the_circuit_and_name_their_layer() {
    let client = client().named("shop").edit_throttle(|_| ThrottleLayer::concurrency(0));
    let handle = client.handle();
    let service = client.service(service_fn(|row: u32| async move { Ok::<_, BoxError>(row) }));
    for _ in 0..100 {
        let error = service.clone().oneshot(7).await.unwrap_err();
        assert_eq!(reason(&error), Some((Reason::Overloaded, "shop.throttle".to_owned())));
    }
    assert_eq!(count(&handle, "shop.breaker", "buttress.breaker.opened"), 0);
    assert_eq!(count(&handle, "shop.retry", "buttress.retry.retries"), 0);
}

/// CO-04: an open circuit, and a deadline that passed before the call.
#[tokio::test(start_paused = true)]
async fn open_circuit_and_expired_deadline_name_their_layer() {
    let open_for = Backoff::constant(100 * SECOND);
    let client = client().edit_breaker(|breaker| breaker.consecutive(1).open_for(open_for));
    let service = client.service(service_fn(|row: u32| async move {
        if row == 0 { Err(BoxError::from("down")) } else { Ok(row) }
    }));
    service.clone().oneshot(0).await.unwrap_err();
    let error = service.clone().oneshot(7).await.unwrap_err();
    assert_eq!(reason(&error), Some((Reason::CircuitOpen, "client.breaker".to_owned())));
    let past = buttress_core::Deadline::after(MS);
    advance(SECOND).await;
    let mut service = service;
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let call = buttress_core::Deadline::with(Some(past), || service.call(7));
    let error = call.await.unwrap_err();
    assert_eq!(reason(&error), Some((Reason::DeadlineExceeded, "client.deadline".to_owned())));
}

/// CO-09: nothing but the paused clock moves a stack on.
#[tokio::test(start_paused = true)]
async fn stack_advances_only_with_the_paused_clock() {
    let client = client().hedge(HedgeLayer::after(SECOND)).edit_breaker(|b| b.consecutive(2));
    let service = client.service(service_fn(|row: u32| async move {
        sleep(Duration::from_secs(3600)).await;
        Ok::<_, BoxError>(row)
    }));
    let start = Instant::now();
    service.oneshot(7).await.unwrap_err();
    // The attempts are cut by a clock that moves only when nothing else can run. A layer with another
    // clock would wait for it, and this test with it.
    assert!(start.elapsed() > 9 * SECOND);
}

/// CO-11: a thousand handles that are ready and idle hold nothing that others need.
#[tokio::test(start_paused = true)]
async fn idle_ready_clones_hold_no_permit() {
    let client = client().throttle(ThrottleLayer::concurrency(1)).budget(Budget::unlimited());
    let service = client.service(Probe::new(Ok::<u32, BoxError>));
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        let mut clone = service.clone();
        std::future::poll_fn(|cx| clone.poll_ready(cx)).await.unwrap();
        idle.push(clone);
    }
    assert_eq!(service.oneshot(7).await.unwrap(), 7);
    drop(idle);
}

/// CO-12: the orders that are known to be bad cannot be written, because each pattern has one place. So
/// the retry of a client is always outside its breaker, and inside its dedup.
#[tokio::test(start_paused = true)]
async fn retry_is_inside_dedup_and_outside_the_breaker_however_the_client_is_built() {
    let breaker = || buttress_stack::BreakerLayer::new().window(20 * SECOND).consecutive(50);
    let retry = || RetryLayer::new(3);
    let dedup = buttress_stack::DedupLayer::new;
    let inward = client().dedup(dedup()).retry(retry()).breaker(breaker());
    let outward = client().breaker(breaker()).retry(retry()).dedup(dedup());
    for client in [inward, outward] {
        let handle = client.handle();
        let service = client.service(service_fn(|_: u32| async {
            sleep(SECOND).await;
            Err::<u32, _>(BoxError::from("down"))
        }));
        let (one, two) = tokio::join!(service.clone().oneshot(7), service.clone().oneshot(7));
        assert!(one.is_err() && two.is_err());
        // The second caller joins the first flight, and then makes a call of its own.
        assert_eq!(count(&handle, "client.dedup", "buttress.dedup.calls"), 2);
        assert_eq!(count(&handle, "client.retry", "buttress.retry.calls"), 2);
        assert_eq!(count(&handle, "client.throttle", "buttress.throttle.admitted"), 6);
    }
}

/// Runs a load on the standard client under `weather`, with a quarter of the calls failing anyway if it
/// says so.
fn run(seed: u64, weather: Weather, gap: Duration, length: Duration) -> (LoadReport, String) {
    let (report, log) = simulate(seed, async || {
        let weather = WeatherLayer::new(
            weather,
            |number: &u64| *number,
            |_| Err(BoxError::from(io::Error::other("down"))),
        );
        let client = client().seed(seed);
        let service = ServiceBuilder::new()
            .layer(client)
            .layer(weather.clone())
            .service(service_fn(|number: u64| async move { Ok::<_, BoxError>(number) }));
        Load::new(service)
            .upstream(&weather.upstream())
            .every(gap)
            .for_(length)
            .request(|number| number)
            .await
    });
    (report, log.as_str().to_owned())
}

fn fair(seed: u64) -> Weather {
    Weather::seeded(seed).latency(5 * MS, 20 * MS)
}

/// CO-08.
#[test]
fn same_seed_gives_the_same_events_byte_for_byte() {
    let weather = |seed| fair(seed).faults(0.2).outage(3 * SECOND, 6 * SECOND);
    let (_, first) = run(7, weather(7), 20 * MS, 12 * SECOND);
    let (_, second) = run(7, weather(7), 20 * MS, 12 * SECOND);
    assert!(first.lines().count() > 500, "{}", first.lines().count());
    assert!(first == second, "two runs of a seed differ");
    let (_, other) = run(8, weather(8), 20 * MS, 12 * SECOND);
    assert!(first != other, "another seed gives the same events");
}

/// CO-13: a dead upstream at 1000 calls per second.
#[test]
fn dead_upstream_sees_few_calls_and_then_only_probes() {
    for seed in 0..2 {
        let dead = fair(seed).outage(Duration::ZERO, 100 * SECOND);
        let (report, _) = run(seed, dead, MS, 15 * SECOND);
        assert_eq!(report.served(), 0);
        // 20 failures open the circuit, with the calls of 20 ms in flight. Then at most 5 probes per
        // interval of at least half a second.
        assert!(report.sent() <= 20 + 20 + 5 * 30, "seed {seed}: {}", report.sent());
        report.assert_amplification_within_any(10 * SECOND, 1.2);
    }
}

/// CO-14: after an outage of 30 s, all of the load is served again without help.
#[test]
fn service_is_whole_again_soon_after_an_outage() {
    for seed in 0..3 {
        let weather = fair(seed).outage(10 * SECOND, 40 * SECOND);
        let (report, _) = run(seed, weather, 5 * MS, 90 * SECOND);
        // Twice the longest interval of 10 s and the ramp of 3 s. Seen: 3 s to 14 s.
        report.assert_recovers(40 * SECOND, 16 * SECOND);
        report.between(60 * SECOND, 90 * SECOND).assert_goodput_at_least(0.999);
    }
}

/// P3: a network on which a quarter of the attempts fail never opens the circuit.
#[test]
fn flaky_network_is_no_outage() {
    let (report, log) = run(7, fair(7).faults(0.25), 5 * MS, 60 * SECOND);
    assert!(!log.contains("breaker.opened"), "the circuit opened");
    // Without retries: 0.75. The budget pays for 20 % more calls, and 31 % would be needed.
    report.assert_goodput_at_least(0.93);
}

//! Calls that are not sent, because the service would not accept them.

use std::task::Poll;

use buttress_core::{BoxError, Criticality, Deadline, Reason, Verdict};
use buttress_testkit::counts;
use buttress_throttle::{AcceptRatio, AcceptRatioLimit, ThrottleLayer, ThrottleSnapshot};
use tokio_test::{assert_pending, task};
use tower::{
    Layer, ServiceBuilder, ServiceExt, service_fn,
    util::{BoxCloneService, Oneshot},
};

use crate::support::{ms, reason, worker};

type Service = BoxCloneService<&'static str, (), BoxError>;

/// A service whose request names its outcome.
fn service(
    layer: &ThrottleLayer<buttress_core::Plain, AcceptRatioLimit, buttress_core::ByMode>,
) -> Service {
    layer.clone().classify(meaning).layer(service_fn(work)).boxed_clone()
}

fn meaning(outcome: Result<&(), &BoxError>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Success,
        Err(error) if error.to_string() == "not found" => Verdict::Permanent,
        Err(_) => Verdict::Transient,
    }
}

async fn work(what: &'static str) -> Result<(), BoxError> {
    match what {
        "ok" => Ok(()),
        "hang" => std::future::pending().await,
        "5 ms" => answer_after(5).await,
        "100 ms" => answer_after(100).await,
        "2 s" => answer_after(2000).await,
        other => Err(BoxError::from(other)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_service_gets_every_call() {
    let layer = ThrottleLayer::accept_ratio().seed(1);
    let service = service(&layer);
    for n in 0..1000 {
        let outcome = service.clone().oneshot(if n % 2 == 0 { "ok" } else { "not found" }).await;
        assert_eq!(outcome.is_ok(), n % 2 == 0);
    }
    let expected = counts!(ThrottleSnapshot { admitted: [0, 0, 1000, 0] });
    assert_eq!(layer.handle().snapshot(), expected);
    assert!(layer.handle().rejection_probability(Criticality::Critical).abs() < f64::EPSILON);
}

/// C1
#[tokio::test(start_paused = true)]
async fn unknown_outcome_counts_as_a_request_and_not_as_accepted() {
    let unknown = |_: Result<&(), &BoxError>| Verdict::Unknown;
    let layer = ThrottleLayer::accept_ratio().seed(1).classify(unknown);
    let (service, handle) = (layer.layer(service_fn(work)), layer.handle());
    for _ in 0..21 {
        let _ = service.clone().oneshot("opaque").await;
    }
    let probability = handle.rejection_probability(Criticality::Critical);
    assert!((probability - 0.9).abs() < f64::EPSILON, "{probability}");
}

#[tokio::test(start_paused = true)]
async fn failing_service_gets_a_tenth_of_the_calls_until_it_recovers() {
    let layer = ThrottleLayer::accept_ratio().seed(1);
    let (service, handle) = (service(&layer), layer.handle());
    let mut sent = 0;
    for n in 0..2000 {
        let error = service.clone().oneshot("broken").await.unwrap_err();
        if n >= 1000 && error.to_string() == "broken" {
            sent += 1;
        }
    }
    assert!((70..130).contains(&sent), "{sent} of 1000");
    assert_eq!(reason(rejected(&service).await), Reason::Overloaded);
    tokio::time::advance(ms(130_000)).await;
    assert_eq!(service.clone().oneshot("ok").await.ok(), Some(()));
    assert!(handle.rejection_probability(Criticality::Critical).abs() < f64::EPSILON);
}

/// Calls until one is not sent.
async fn rejected(service: &Service) -> Result<(), BoxError> {
    loop {
        match service.clone().oneshot("broken").await {
            Err(error) if error.to_string() != "broken" => return Err(error),
            _ => {}
        }
    }
}

async fn answer_after(millis: u64) -> Result<(), BoxError> {
    tokio::time::sleep(ms(millis)).await;
    Ok(())
}

/// Makes `calls` calls side by side, and returns how many of them are not sent.
async fn burst(service: &Service, calls: usize, what: &'static str) -> usize {
    let calls = (0..calls).map(|_| tokio::task::spawn(service.clone().oneshot(what)));
    let calls: Vec<_> = calls.collect();
    let mut rejected = 0;
    for call in calls {
        rejected += usize::from(call.await.unwrap().is_err());
    }
    rejected
}

/// Calls that hang, and are waited for as long as the test lasts.
struct Hanging(Vec<task::Spawn<Oneshot<Service, &'static str>>>);

impl Hanging {
    /// Makes one more, and returns whether it was sent.
    fn call(&mut self, service: &Service) -> bool {
        let mut call = task::spawn(service.clone().oneshot("hang"));
        let polled = call.poll();
        if let Poll::Ready(outcome) = polled {
            assert_eq!(reason(outcome), Reason::Overloaded);
            return false;
        }
        self.0.push(call);
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_service_gets_every_call_of_its_first_burst() {
    for calls in [200, 1000] {
        for law in [AcceptRatio::new().min_requests(20), AcceptRatio::new()] {
            let layer = ThrottleLayer::accept_ratio_with(&law).seed(1);
            assert_eq!(burst(&service(&layer), calls, "100 ms").await, 0);
            assert_eq!(layer.handle().rejected(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_service_gets_every_call_of_a_stream_that_begins_before_its_first_answer() {
    let layer = ThrottleLayer::accept_ratio_with(&AcceptRatio::new()).seed(1);
    let service = service(&layer);
    let mut calls = Vec::new();
    for _ in 0..1000 {
        calls.push(tokio::task::spawn(service.clone().oneshot("100 ms")));
        tokio::time::sleep(ms(1)).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(layer.handle().rejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_healthy_service_gets_every_call_of_a_burst_after_a_rest_or_of_ten_times_the_load() {
    let layer = ThrottleLayer::accept_ratio_with(&AcceptRatio::new()).seed(1);
    let service = service(&layer);
    for _ in 0..20 {
        assert_eq!(burst(&service, 20, "100 ms").await, 0);
    }
    assert_eq!(burst(&service, 200, "100 ms").await, 0);
    for rest in [10_000, 130_000, 3_600_000] {
        tokio::time::advance(ms(rest)).await;
        assert_eq!(burst(&service, 500, "100 ms").await, 0, "after {rest} ms");
    }
    assert_eq!(layer.handle().rejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn service_that_hangs_from_the_start_is_shed_before_its_first_answer() {
    let layer = ThrottleLayer::accept_ratio().seed(1);
    let service = service(&layer);
    let (mut hanging, mut sent) = (Hanging(Vec::new()), Vec::new());
    for _ in 0..100 {
        sent.push(hanging.call(&service));
        tokio::time::advance(ms(10)).await;
    }
    // Twice the 250 ms that are assumed, and an eighth, and then 20 calls to go by.
    let first = sent.iter().position(|sent| !sent);
    assert!(first.is_some_and(|first| (69..85).contains(&first)), "{first:?}");
    assert!(layer.handle().rejection_probability(Criticality::Critical) > 0.8);
}

#[tokio::test(start_paused = true)]
async fn service_that_starts_to_hang_is_shed_within_three_latencies() {
    for (latency, millis) in [("5 ms", 5), ("100 ms", 100), ("2 s", 2000)] {
        let layer = ThrottleLayer::accept_ratio().seed(1);
        let service = service(&layer);
        for _ in 0..400 {
            burst(&service, 1, latency).await;
        }
        tokio::time::advance(ms(130_000)).await;
        burst(&service, 10, latency).await;
        let mut hanging = Hanging(Vec::new());
        assert!((0..200).all(|_| hanging.call(&service)), "{latency}");
        tokio::time::advance(ms(millis)).await;
        assert!(hanging.call(&service), "{latency}: it may answer yet");
        tokio::time::advance(ms(2 * millis)).await;
        let sent = (0..100).filter(|_| hanging.call(&service)).count();
        assert!(sent < 30, "{latency}: {sent} of 100 are still sent");
    }
}

#[tokio::test(start_paused = true)]
async fn abandoned_call_counts_when_late_or_past_its_deadline() {
    let layer = ThrottleLayer::accept_ratio_with(&AcceptRatio::new()).seed(1);
    let (service, handle) = (service(&layer), layer.handle());
    let rejection = || handle.rejection_probability(Criticality::Critical);
    let mut given_up = task::spawn(service.clone().oneshot("hang"));
    assert_pending!(given_up.poll());
    tokio::time::advance(ms(400)).await;
    drop(given_up);
    tokio::time::advance(ms(1000)).await;
    assert!(rejection().abs() < f64::EPSILON);

    let mut late = task::spawn(Deadline::after(ms(10)).around(service.clone().oneshot("hang")));
    assert_pending!(late.poll());
    tokio::time::advance(ms(11)).await;
    drop(late);
    assert!((rejection() - 0.5).abs() < f64::EPSILON, "one of one");

    let mut impatient = task::spawn(service.clone().oneshot("hang"));
    while impatient.poll().is_ready() {
        impatient = task::spawn(service.clone().oneshot("hang"));
    }
    let before = rejection();
    tokio::time::advance(ms(600)).await;
    let late = rejection();
    drop(impatient);
    assert!(late > before && (rejection() - late).abs() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn call_rejected_by_a_layer_below_does_not_count() {
    let layer = ThrottleLayer::accept_ratio_with(&AcceptRatio::new());
    let full = ThrottleLayer::concurrency(0);
    let stack = ServiceBuilder::new().layer(layer.clone()).layer(full).service(worker());
    for _ in 0..10 {
        assert_eq!(reason(stack.clone().oneshot(1).await), Reason::Overloaded);
    }
    let expected = counts!(ThrottleSnapshot { admitted: [0, 0, 10, 0] });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn each_criticality_has_counts_of_its_own() {
    let layer = ThrottleLayer::accept_ratio().seed(1);
    let (service, handle) = (service(&layer), layer.handle());
    for _ in 0..100 {
        let call = Criticality::Sheddable.around(service.clone().oneshot("broken"));
        call.await.unwrap_err();
    }
    assert!(handle.rejection_probability(Criticality::Sheddable) > 0.8);
    assert!(handle.rejection_probability(Criticality::CriticalPlus).abs() < f64::EPSILON);
}

/// Which of two hundred calls are sent.
async fn decisions(service: &Service) -> Vec<bool> {
    let mut sent = Vec::new();
    for _ in 0..200 {
        let error = service.clone().oneshot("broken").await.unwrap_err();
        sent.push(error.to_string() == "broken");
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_decisions() {
    let run = async |seed| decisions(&service(&ThrottleLayer::accept_ratio().seed(seed))).await;
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

#[tokio::test(start_paused = true)]
async fn seed_applies_to_each_service_and_to_each_key() {
    let run = async |seed| {
        let layer = ThrottleLayer::accept_ratio().seed(seed);
        let keyed = layer.clone().keyed(|_: &&'static str| Some(()));
        let keyed = keyed.classify(meaning).layer(service_fn(work)).boxed_clone();
        let mut sent = Vec::new();
        for service in [service(&layer.per_service()), keyed] {
            sent.extend(decisions(&service).await);
        }
        sent
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

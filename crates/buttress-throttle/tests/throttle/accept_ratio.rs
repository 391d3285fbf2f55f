//! What a client does not send, because the service would not accept it.

use buttress_core::{BoxError, Criticality, Deadline, Reason, Verdict};
use buttress_throttle::{AcceptRatio, AcceptRatioLimit, ThrottleLayer};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

use crate::common::{ms, reason, worker};

type Service = BoxCloneService<&'static str, (), BoxError>;

/// A service that does as it is told.
fn service(
    layer: &ThrottleLayer<AcceptRatioLimit, buttress_core::Plain, buttress_core::ByMode>,
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
    assert_eq!((layer.handle().admitted(), layer.handle().rejected()), (1000, 0));
    assert!(layer.handle().rejection(Criticality::Critical).abs() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_gets_one_call_in_ten_and_is_found_when_it_is_back() {
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
    assert!(handle.rejection(Criticality::Critical).abs() < f64::EPSILON);
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

#[tokio::test(start_paused = true)]
async fn th_07_a_service_that_hangs_is_noticed_before_its_first_answer() {
    let layer = ThrottleLayer::accept_ratio().seed(1);
    let service = service(&layer);
    let mut calls: Vec<_> =
        (0..100).map(|_| task::spawn(service.clone().oneshot("hang"))).collect();
    let shed = calls.iter_mut().filter_map(|call| match call.poll() {
        std::task::Poll::Ready(outcome) => Some(reason(outcome)),
        std::task::Poll::Pending => None,
    });
    let shed: Vec<_> = shed.collect();
    assert!(shed.len() > 40 && shed.iter().all(|reason| *reason == Reason::Overloaded));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_counts_only_if_its_time_was_up() {
    let layer = ThrottleLayer::accept_ratio_of(&AcceptRatio::new()).seed(1);
    let (service, handle) = (service(&layer), layer.handle());
    let mut given_up = task::spawn(service.clone().oneshot("hang"));
    assert_pending!(given_up.poll());
    assert!(handle.rejection(Criticality::Critical) > 0.4);
    drop(given_up);
    assert!(handle.rejection(Criticality::Critical).abs() < f64::EPSILON);
    let mut late = task::spawn(Deadline::after(ms(10)).around(service.clone().oneshot("hang")));
    assert_pending!(late.poll());
    tokio::time::advance(ms(11)).await;
    drop(late);
    assert!(handle.rejection(Criticality::Critical) > 0.4);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_layer_below_rejects_does_not_count() {
    let layer = ThrottleLayer::accept_ratio_of(&AcceptRatio::new());
    let full = ThrottleLayer::concurrency(0);
    let stack = ServiceBuilder::new().layer(layer.clone()).layer(full).service(worker());
    for _ in 0..10 {
        assert_eq!(reason(stack.clone().oneshot(1).await), Reason::Overloaded);
    }
    assert_eq!((layer.handle().admitted(), layer.handle().rejected()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn each_criticality_has_an_account_of_its_own() {
    let layer = ThrottleLayer::accept_ratio().seed(1);
    let (service, handle) = (service(&layer), layer.handle());
    for _ in 0..100 {
        let call = Criticality::Sheddable.around(service.clone().oneshot("broken"));
        call.await.unwrap_err();
    }
    assert!(handle.rejection(Criticality::Sheddable) > 0.8);
    assert!(handle.rejection(Criticality::CriticalPlus).abs() < f64::EPSILON);
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
async fn a_seed_holds_for_each_service_and_for_each_key_too() {
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

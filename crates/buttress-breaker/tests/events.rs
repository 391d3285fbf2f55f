//! Events. In a process of its own, because every test records.

use std::{sync::Arc, time::Duration};

use buttress_breaker::{Backoff, BreakerLayer, Ratio};
use buttress_core::{Attempt, BoxError};
use buttress_testkit::Events;
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tracing::Level;

const SECOND: Duration = Duration::from_secs(1);

fn layer() -> BreakerLayer {
    BreakerLayer::new().open_for(Backoff::constant(SECOND)).named("db")
}

/// Fails if the request says so.
async fn service(fails: bool) -> Result<(), BoxError> {
    if fails { Err("failure".into()) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn opening_emits_a_warning_with_its_reason_its_cause_and_the_numbers() {
    let events = Events::of("buttress");
    let service = layer().layer(service_fn(service));
    service.clone().oneshot(false).await.unwrap();
    for _ in 0..5 {
        service.clone().oneshot(true).await.unwrap_err();
    }
    assert_eq!(
        events.log(),
        "0.000ms WARN breaker.opened instance=db from=closed reason=consecutive verdict=Transient \
         open_for=1s calls=6 failures=5 slow=0\n"
    );
}

/// The last call before the minimum decides, also if the call succeeds.
#[tokio::test(start_paused = true)]
async fn opening_by_a_success_emits_the_verdict_of_the_success() {
    let events = Events::of("buttress");
    let layer = layer().failures(Ratio::percent(50), 4).consecutive(9);
    let service = layer.layer(service_fn(service));
    for fails in [true, true, false] {
        let _ = service.clone().oneshot(fails).await;
    }
    service.oneshot(false).await.unwrap();
    assert_eq!(
        events.log(),
        "0.000ms WARN breaker.opened instance=db from=closed reason=failures verdict=Success \
         open_for=1s calls=4 failures=2 slow=0\n"
    );
}

#[tokio::test(start_paused = true)]
async fn recovery_emits_each_change_of_state() {
    let events = Events::of("buttress");
    let service = layer().ramp(SECOND, &[Ratio::percent(100)]).layer(service_fn(service));
    for _ in 0..5 {
        service.clone().oneshot(true).await.unwrap_err();
    }
    advance(SECOND).await;
    for _ in 0..3 {
        service.clone().oneshot(false).await.unwrap();
    }
    advance(SECOND).await;
    service.oneshot(false).await.unwrap();
    assert_eq!(
        events.named("breaker.changed").iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "1000.000ms INFO breaker.changed instance=db from=open to=half_open reason=interval",
            "1000.000ms INFO breaker.changed instance=db from=half_open to=ramp reason=probe",
            "2000.000ms INFO breaker.changed instance=db from=ramp to=closed reason=ramp_ended",
        ]
    );
    assert_eq!(events.count("breaker.opened"), 1);
}

/// The late success is the occasion of the opening, and not its cause.
#[tokio::test(start_paused = true)]
async fn opening_by_the_late_outcome_of_a_probe_has_no_verdict() {
    let events = Events::of("buttress");
    let layer = layer().probes(1, 1).probe_patience(SECOND).patience(SECOND);
    let service = layer.layer(service_fn(async |()| {
        tokio::time::sleep(2 * SECOND).await;
        Ok::<_, BoxError>(())
    }));
    layer.handle().open();
    advance(SECOND).await;
    service.oneshot(()).await.unwrap();
    let opened = events.named("breaker.opened");
    let [_, lapsed] = &opened[..] else { unreachable!("{opened:?}") };
    assert_eq!(lapsed.field("reason"), Some("probe_lapsed"));
    assert_eq!(lapsed.field("verdict"), None);
}

#[tokio::test(start_paused = true)]
async fn opening_by_a_lapsed_probe_has_its_own_reason_and_no_verdict() {
    let events = Events::of("buttress");
    let layer = layer().probes(1, 1).probe_patience(SECOND);
    let service = layer.layer(service_fn(async |()| {
        std::future::pending::<()>().await;
        Ok::<_, BoxError>(())
    }));
    layer.handle().open();
    advance(SECOND).await;
    let mut probe = tokio_test::task::spawn(service.clone().oneshot(()));
    tokio_test::assert_pending!(probe.poll());
    advance(SECOND).await;
    service.oneshot(()).await.unwrap_err();
    let opened = events.named("breaker.opened");
    let [_, lapsed] = &opened[..] else { unreachable!("{opened:?}") };
    assert_eq!(lapsed.field("reason"), Some("probe_lapsed"));
    assert_eq!(lapsed.field("from"), Some("half_open"));
    assert_eq!(lapsed.field("verdict"), None);
}

#[tokio::test(start_paused = true)]
async fn each_rejection_emits_an_event() {
    let events = Events::of("buttress");
    let layer = layer();
    let service = layer.layer(service_fn(service));
    layer.handle().open();
    events.clear();
    for _ in 0..2 {
        service.clone().oneshot(false).await.unwrap_err();
    }
    let rejected =
        "0.000ms DEBUG breaker.rejected instance=db retry_after=Some(1s) observed=false\n";
    assert_eq!(events.log(), rejected.repeat(2));
}

#[tokio::test(start_paused = true)]
async fn isolated_circuit_rejects_without_a_time() {
    let events = Events::of("buttress");
    let layer = layer();
    let service = layer.layer(service_fn(service));
    let isolation = layer.handle().isolate();
    service.oneshot(false).await.unwrap_err();
    drop(isolation);
    let [isolated, rejected, closed] = &events.all()[..] else { unreachable!("{events:?}") };
    assert_eq!(isolated.field("to"), Some("isolated"));
    assert_eq!((rejected.name, rejected.field("retry_after")), ("breaker.rejected", Some("None")));
    assert_eq!(
        closed.to_string(),
        "0.000ms INFO breaker.changed instance=db from=isolated to=closed reason=hand"
    );
}

#[tokio::test(start_paused = true)]
async fn observed_rejection_says_so() {
    let events = Events::of("buttress");
    let layer = layer();
    layer.handle().open();
    events.clear();
    let service = layer.clone().observe().layer(service_fn(service));
    service.oneshot(false).await.unwrap();
    assert_eq!(events.named("breaker.rejected")[0].field("observed"), Some("true"));
    assert_eq!(events.all()[0].level, Level::DEBUG);
    assert_eq!(events.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_spare_call_emits_a_trace_event() {
    let events = Events::of("buttress");
    let layer = layer();
    layer.handle().open();
    events.clear();
    for layer in [layer.clone(), layer.observe()] {
        let mut spare = tokio_test::task::spawn(layer.layer(service_fn(service)).oneshot(false));
        assert!(Attempt::FIRST.spare().with(|| spare.poll()).is_ready());
    }
    assert_eq!(
        events.log(),
        "0.000ms TRACE breaker.spare_refused instance=db retry_after=Some(1s) observed=false\n\
         0.000ms TRACE breaker.spare_refused instance=db retry_after=Some(1s) observed=true\n"
    );
}

/// The keys are strings and numbers, which have a text, and a pair, which has none.
#[tokio::test(start_paused = true)]
async fn event_of_a_keyed_circuit_has_the_text_of_its_key() {
    let events = Events::of("buttress");
    let failing = || service_fn(async |_: u32| Err::<(), _>(BoxError::from("failure")));
    let text = layer().consecutive(1).keyed(|n: &u32| Some(format!("db-{n}")));
    let shared = layer().consecutive(1).keyed(|n: &u32| Some(Arc::<str>::from(n.to_string())));
    let number = layer().consecutive(1).keyed(|n: &u32| Some(*n));
    let pair = layer().consecutive(1).keyed(|n: &u32| Some((*n, *n)));
    text.layer(failing()).oneshot(7).await.unwrap_err();
    shared.layer(failing()).oneshot(8).await.unwrap_err();
    number.layer(failing()).oneshot(9).await.unwrap_err();
    pair.layer(failing()).oneshot(10).await.unwrap_err();
    text.max_keys(0).layer(failing()).oneshot(11).await.unwrap_err();
    let opened = events.named("breaker.opened");
    let keys: Vec<_> = opened.iter().map(|event| event.field("key")).collect();
    assert_eq!(keys, [Some("db-7"), Some("8"), Some("9"), None, None]);
}

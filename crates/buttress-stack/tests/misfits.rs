//! Settings that contradict each other: found, reported once, and never a panic.

use std::time::Duration;

use buttress_control::{Backoff, Ratio};
use buttress_core::BoxError;
use buttress_stack::{
    BreakerLayer, Budget, ClientConfig, Custom, DeadlineLayer, HedgeLayer, Misfit, RetryLayer,
    ThrottleLayer, client, client_for_aws, client_for_grpc, client_for_http, server,
};
use buttress_testkit::Events;
use buttress_throttle::{Queue, Rate};
use tower::{ServiceExt, service_fn, util::MapRequestLayer};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The settings of each misfit.
fn settings(misfits: &[Misfit]) -> Vec<Vec<&str>> {
    misfits.iter().map(|misfit| misfit.settings().collect()).collect()
}

#[test]
fn no_preset_has_a_misfit() {
    for client in [client(), client_for_http(), client_for_grpc(), client_for_aws()] {
        assert_eq!(client.misfits(), []);
        assert_eq!(client.hedge(HedgeLayer::learned()).misfits(), []);
    }
    assert_eq!(server().misfits(), []);
}

#[test]
fn attempt_longer_than_the_deadline_is_a_misfit_and_an_equal_one_is_none() {
    let client = client().without_breaker().deadline(DeadlineLayer::new(5 * SECOND));
    assert_eq!(settings(&client.misfits()), [["attempt.timeout", "deadline.timeout"]]);
    assert_eq!(client.attempt(DeadlineLayer::new(5 * SECOND)).misfits(), []);
}

#[test]
fn breaker_window_below_two_attempts_is_a_misfit_and_an_equal_one_is_none() {
    let with = |window| client().edit_breaker(|breaker| breaker.window(window));
    let misfits = with(19 * SECOND).misfits();
    assert_eq!(settings(&misfits), [["breaker.window", "attempt.timeout"]]);
    assert!(misfits[0].remedy().contains("Lengthen breaker.window to 20s"));
    assert_eq!(with(20 * SECOND).misfits(), []);
}

#[test]
fn first_backoff_that_reaches_the_deadline_is_a_misfit() {
    let with = |backoff| client().edit_retry(|retry| retry.backoff(backoff));
    let client = with(Backoff::constant(30 * SECOND));
    assert_eq!(settings(&client.misfits()), [["retry.backoff.base", "deadline.timeout"]]);
    assert_eq!(with(Backoff::constant(29 * SECOND)).misfits(), []);
    // A single attempt waits for nothing.
    let client = client.edit_retry(|_| RetryLayer::new(1).backoff(Backoff::constant(30 * SECOND)));
    assert_eq!(client.misfits(), []);
}

#[test]
fn backoff_that_begins_above_its_cap_is_a_misfit() {
    let backoff = Backoff::exponential(2 * SECOND, SECOND);
    let client = client()
        .edit_retry(|retry| retry.backoff(backoff))
        .edit_breaker(|breaker| breaker.open_for(backoff));
    assert_eq!(
        settings(&client.misfits()),
        [
            ["retry.backoff.base", "retry.backoff.max"],
            ["breaker.open_for.base", "breaker.open_for.max"]
        ]
    );
}

#[test]
fn hedge_that_comes_when_the_attempt_has_ended_is_a_misfit() {
    let with = |hedge| client().hedge(hedge);
    let fixed = with(HedgeLayer::after(10 * SECOND));
    assert_eq!(settings(&fixed.misfits()), [["hedge.after", "attempt.timeout"]]);
    let learned = with(HedgeLayer::at(Ratio::percent(95), 10 * SECOND));
    assert_eq!(settings(&learned.misfits()), [["hedge.least", "attempt.timeout"]]);
    assert_eq!(with(HedgeLayer::after(9 * SECOND)).misfits(), []);
    assert_eq!(with(HedgeLayer::after(10 * SECOND).at_most(0)).misfits(), []);
    let whole = with(HedgeLayer::after(30 * SECOND)).without_attempt();
    assert_eq!(settings(&whole.misfits()), [["hedge.after", "deadline.timeout"]]);
}

#[test]
fn queue_whose_wait_reaches_the_deadline_is_a_misfit() {
    let queue = Queue::new(10).max_wait(30 * SECOND);
    let limit = client().throttle(ThrottleLayer::concurrency(10).queue(queue.clone()));
    assert_eq!(settings(&limit.misfits()), [["concurrency.max_wait", "deadline.timeout"]]);
    let rate = server().throttle(ThrottleLayer::rate(Rate::per_second(10)).queue(queue));
    assert_eq!(settings(&rate.misfits()), [["rate.max_wait", "deadline.timeout"]]);
    let off = Queue::new(0).max_wait(30 * SECOND);
    assert_eq!(client().throttle(ThrottleLayer::concurrency(10).queue(off)).misfits(), []);
}

#[test]
fn hedges_that_may_exceed_the_shared_budget_are_a_misfit() {
    let hedge = || HedgeLayer::learned().budget(Budget::new(Ratio::percent(30), 0));
    let misfits = client().hedge(hedge()).misfits();
    assert_eq!(settings(&misfits), [["hedge", "retry"]]);
    assert!(misfits[0].remedy().contains("30 %") && misfits[0].remedy().contains("20 %"));
    assert_eq!(client().hedge(hedge().at_most(0)).misfits(), []);
    // A hedge that shares another budget has nothing to do with that of the retry.
    let shared = || hedge().share(Budget::unlimited());
    assert_eq!(client().hedge(shared()).misfits(), []);
    assert_eq!(client().without_throttle().hedge(shared()).misfits(), []);
    assert_eq!(client().hedge(HedgeLayer::learned()).hedge(shared()).misfits(), []);
}

#[test]
fn slow_calls_that_an_attempt_never_reaches_are_a_misfit() {
    let client = client().edit_breaker(|breaker| breaker.slow(10 * SECOND, Ratio::percent(50)));
    assert_eq!(settings(&client.misfits()), [["breaker.slow.limit", "attempt.timeout"]]);
}

#[test]
fn patience_of_the_breaker_beside_the_attempt_is_checked() {
    let client = client();
    let probe = client.clone().edit_breaker(|breaker| breaker.probe_patience(9 * SECOND));
    assert_eq!(settings(&probe.misfits()), [["breaker.probe_patience", "attempt.timeout"]]);
    let call = client.clone().edit_breaker(|breaker| breaker.patience(11 * SECOND));
    assert_eq!(settings(&call.misfits()), [["breaker", "attempt.timeout"]]);
    assert_eq!(client.edit_breaker(|breaker| breaker.patience(10 * SECOND)).misfits(), []);
}

#[test]
fn settings_that_let_no_call_through_are_misfits() {
    let client = client()
        .throttle(ThrottleLayer::concurrency(0))
        .deadline(DeadlineLayer::new(Duration::ZERO))
        .without_attempt()
        .without_retry();
    assert_eq!(settings(&client.misfits()), [["deadline.timeout"], ["concurrency.limit"]]);
    let client = client.throttle(ThrottleLayer::rate(Rate::per_second(0)));
    assert_eq!(settings(&client.misfits()), [["deadline.timeout"], ["rate.calls"]]);
}

#[test]
fn all_misfits_are_found_at_once_and_each_names_the_remedy() {
    let client = client()
        .deadline(DeadlineLayer::new(SECOND))
        .hedge(HedgeLayer::after(20 * SECOND))
        .breaker(BreakerLayer::new());
    let misfits = client.misfits();
    assert_eq!(
        settings(&misfits),
        [
            ["attempt.timeout", "deadline.timeout"],
            ["breaker.window", "attempt.timeout"],
            ["retry.backoff.base", "deadline.timeout"],
            ["hedge.after", "attempt.timeout"]
        ]
    );
    for misfit in misfits {
        let first = misfit.settings().next().unwrap().to_owned();
        assert!(misfit.remedy().contains(&first), "{misfit}");
        assert!(misfit.remedy().ends_with('.'), "{misfit}");
    }
}

#[test]
fn custom_layers_and_empty_places_have_no_misfits() {
    let foreign = MapRequestLayer::new(|row: u32| row);
    let client = client().deadline(DeadlineLayer::new(SECOND)).without_retry();
    assert_eq!(client.clone().attempt(Custom(foreign)).misfits(), []);
    assert_eq!(client.without_attempt().misfits(), []);
}

#[tokio::test(start_paused = true)]
async fn misfits_are_reported_once_when_the_first_service_is_made() {
    let events = Events::record();
    let client = client().named("payments").deadline(DeadlineLayer::new(SECOND));
    assert_eq!(events.count("stack.misfit"), 0);
    let echo = || service_fn(|row: u32| async move { Ok::<_, BoxError>(row) });
    for _ in 0..3 {
        // A stack with misfits works nevertheless.
        assert_eq!(client.clone().service(echo()).oneshot(7).await.unwrap(), 7);
    }
    let events = events.named("stack.misfit");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].level, tracing::Level::WARN);
    assert_eq!(events[0].field("instance"), Some("payments"));
    let misfits = events[0].field("misfits").unwrap();
    assert_eq!(misfits.lines().count(), client.misfits().len());
    assert!(misfits.starts_with("attempt.timeout, deadline.timeout: "));
}

#[tokio::test(start_paused = true)]
async fn clone_of_another_name_reports_misfits_too_and_once_for_each_name() {
    let events = Events::record();
    let echo = || service_fn(|row: u32| async move { Ok::<_, BoxError>(row) });
    let client = client().named("payments").deadline(DeadlineLayer::new(SECOND));
    client.service(echo());
    for _ in 0..3 {
        client.clone().named("orders").service(echo());
        client.clone().named("payments").service(echo());
    }
    let queue = Queue::new(10).max_wait(30 * SECOND);
    let server = server().throttle(ThrottleLayer::concurrency(10).queue(queue));
    server.service(echo());
    server.clone().named("api").service(echo());
    let names: Vec<_> = events
        .named("stack.misfit")
        .iter()
        .map(|event| event.field("instance").unwrap().to_owned())
        .collect();
    assert_eq!(names, ["payments", "orders", "server", "api"]);
}

/// A program that names a clone for each tenant keeps no names without end.
#[tokio::test(start_paused = true)]
async fn misfits_are_reported_for_at_most_1024_names() {
    let events = Events::record();
    let client = client().deadline(DeadlineLayer::new(SECOND));
    for tenant in 0..1030 {
        let echo = service_fn(|row: u32| async move { Ok::<_, BoxError>(row) });
        client.clone().named(format!("tenant-{tenant}")).service(echo);
    }
    assert_eq!(events.count("stack.misfit"), 1024);
}

#[tokio::test(start_paused = true)]
async fn stack_without_misfits_reports_nothing() {
    let events = Events::record();
    client().service(service_fn(|row: u32| async move { Ok::<_, BoxError>(row) }));
    server().service(service_fn(|row: u32| async move { Ok::<_, BoxError>(row) }));
    assert_eq!(events.count("stack.misfit"), 0);
}

#[test]
fn misfit_that_the_configuration_cures_is_gone() {
    let client = client().deadline(DeadlineLayer::new(SECOND));
    let mut config = ClientConfig::default();
    config.attempt.timeout = Some(500 * MS);
    config.retry.backoff.base = Some(50 * MS);
    let client = client.configure(&config).unwrap();
    assert_eq!(client.misfits(), []);
}

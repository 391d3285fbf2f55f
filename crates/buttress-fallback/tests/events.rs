//! Events. In a process of its own, because every test records.

use std::time::Duration;

use buttress_core::{Deadline, Verdict};
use buttress_fallback::FallbackLayer;
use buttress_testkit::{Event, Events, Probe, TestError};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

type Numbers = Probe<u32, u32, TestError>;

fn failing(error: TestError) -> Numbers {
    Probe::new(move |_| Err(error))
}

fn fields<const N: usize>(event: &Event, names: [&str; N]) -> [Option<String>; N] {
    names.map(|name| event.field(name).map(String::from))
}

/// FB-01.
#[tokio::test(start_paused = true)]
async fn each_answer_emits_one_event_that_names_its_source() {
    let events = Events::of("buttress");
    let first = || failing(TestError::Failed);
    FallbackLayer::value(7).named("page").layer(first()).oneshot(1).await.unwrap();
    let answer = |_, _: Result<&u32, &TestError>| 7;
    FallbackLayer::answer(answer).layer(first()).oneshot(1).await.unwrap();
    let alternative = Probe::new(Ok);
    FallbackLayer::service(alternative).layer(first()).oneshot(1).await.unwrap();
    FallbackLayer::value(7).observe().layer(first()).oneshot(1).await.unwrap_err();
    assert_eq!(events.names(), ["fallback.answered"; 4]);
    let seen: Vec<_> = events.all();
    let names = ["instance", "instead_of", "source", "observed"];
    let seen: Vec<_> = seen.iter().map(|event| fields(event, names).map(Option::unwrap)).collect();
    let expected = [
        ["page", "Transient", "value", "false"],
        ["fallback", "Transient", "answer", "false"],
        ["fallback", "Transient", "service", "false"],
        ["fallback", "Transient", "value", "true"],
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn call_that_is_not_answered_emits_nothing() {
    let events = Events::of("buttress");
    let layer = FallbackLayer::value(7).when(|_| false);
    layer.layer(failing(TestError::Failed)).oneshot(1).await.unwrap_err();
    layer.layer(Probe::new(Ok::<u32, TestError>)).oneshot(1).await.unwrap();
    assert!(events.names().is_empty());
}

/// The event carries both verdicts, because the caller sees the first outcome only.
#[tokio::test(start_paused = true)]
async fn failure_of_the_alternative_emits_one_event_with_both_verdicts() {
    let events = Events::of("buttress");
    let verdict = |outcome: Result<&u32, &TestError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(TestError::Failed) => Verdict::Unknown,
        Err(_) => Verdict::Permanent,
    };
    let layer = FallbackLayer::service(failing(TestError::NotFound)).classify(verdict);
    layer.layer(failing(TestError::Failed)).oneshot(1).await.unwrap_err();
    assert_eq!(events.names(), ["fallback.failed"]);
    let seen = fields(&events.all()[0], ["instance", "instead_of", "reason", "verdict"]);
    assert_eq!(
        seen.each_ref().map(Option::as_deref),
        [Some("fallback"), Some("Unknown"), Some("failed"), Some("Permanent")]
    );
}

#[tokio::test(start_paused = true)]
async fn request_without_time_left_emits_one_event_with_its_reason() {
    let events = Events::of("buttress");
    let layer = FallbackLayer::service(Probe::new(Ok::<u32, TestError>));
    let call = layer.layer(failing(TestError::Failed)).oneshot(1);
    let passed = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    Deadline::at(passed).around(call).await.unwrap_err();
    assert_eq!(events.names(), ["fallback.failed"]);
    let seen = fields(&events.all()[0], ["reason", "verdict"]);
    assert_eq!(seen.each_ref().map(Option::as_deref), [Some("no_time_left"), None]);
}

#[tokio::test(start_paused = true)]
async fn call_beyond_the_limit_emits_one_event() {
    let events = Events::of("buttress");
    let layer = FallbackLayer::service(Probe::new(Ok::<u32, TestError>)).at_most(0).named("b");
    layer.layer(failing(TestError::Failed)).oneshot(1).await.unwrap_err();
    assert_eq!(events.names(), ["fallback.full"]);
    let seen = fields(&events.all()[0], ["instance", "instead_of"]);
    assert_eq!(seen.each_ref().map(Option::as_deref), [Some("b"), Some("Transient")]);
}

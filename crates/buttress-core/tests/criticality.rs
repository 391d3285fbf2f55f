//! The criticality: its names, and its ambient value.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{Criticality, Deadline};

use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};

fn seen() -> (Option<Deadline>, Criticality) {
    (Deadline::current(), Criticality::current())
}

#[test]
fn sheddable_is_the_lowest_level_and_critical_the_default() {
    assert!(Sheddable < SheddablePlus && SheddablePlus < Critical && Critical < CriticalPlus);
    assert!(Criticality::ALL.is_sorted());
    assert_eq!(Criticality::ALL.map(Criticality::index), [0, 1, 2, 3]);
    assert_eq!(Criticality::current(), Critical);
}

#[test]
fn criticality_is_parsed_in_upper_and_lower_case() {
    for criticality in Criticality::ALL {
        let words = criticality.as_str();
        assert_eq!(Criticality::parse(words.as_bytes()), Some(criticality));
        assert_eq!(Criticality::parse(words.to_uppercase().as_bytes()), Some(criticality));
    }
    assert_eq!(Criticality::parse(b"Sheddable-Plus"), Some(SheddablePlus));
}

#[test]
fn unknown_words_are_no_criticality() {
    for words in
        ["", " critical", "critical ", "critical+", "critical_plus", "crit", "2", "sheddable-"]
    {
        assert_eq!(Criticality::parse(words.as_bytes()), None, "{words:?}");
    }
    assert_eq!(Criticality::parse(b"critical\xff"), None);
}

#[test]
fn nested_scopes_restore_the_former_value() {
    CriticalPlus.with(|| {
        Sheddable.with(|| assert_eq!(Criticality::current(), Sheddable));
        assert_eq!(Criticality::current(), CriticalPlus);
        Critical.with(|| assert_eq!(Criticality::current(), Critical));
        assert_eq!(Criticality::current(), CriticalPlus);
    });
    assert_eq!(Criticality::current(), Critical);
}

#[tokio::test(start_paused = true)]
async fn criticality_around_is_ambient_only_during_polls() {
    let mut polls = 0;
    let mut future = pin!(Sheddable.around(poll_fn(|_| {
        assert_eq!(Criticality::current(), Sheddable);
        polls += 1;
        if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
    })));
    let mut cx = Context::from_waker(Waker::noop());
    while CriticalPlus.with(|| future.as_mut().poll(&mut cx)).is_pending() {
        assert_eq!(Criticality::current(), Critical);
    }
    assert_eq!(polls, 3);
}

#[tokio::test(start_paused = true)]
async fn criticality_around_keeps_the_deadline_of_the_polling_call() {
    let (made, polled) = (seconds(1), seconds(2));
    let future = Deadline::with(Some(made), || Sheddable.around(async { seen() }));
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    let seen = Deadline::with(Some(polled), || future.as_mut().poll(&mut cx));
    assert_eq!(seen, Poll::Ready((Some(polled), Sheddable)));
}

#[tokio::test(start_paused = true)]
async fn deadline_around_keeps_the_criticality_of_the_polling_call() {
    let limit = seconds(1);
    let future = CriticalPlus.with(|| limit.around(async { seen() }));
    assert_eq!(Sheddable.around(future).await, (Some(limit), Sheddable));
}

#[tokio::test(start_paused = true)]
async fn panicking_future_leaves_no_criticality_behind() {
    let mut broken = Box::pin(Sheddable.around(async { panic!("on purpose") }));
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| broken.as_mut().poll(&mut cx).map(|(): ()| ()));
    assert!(catch_unwind(poll).is_err());
    assert_eq!(Criticality::current(), Critical);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a task is what the criticality is carried to")]
async fn spawned_task_sees_the_criticality_only_in_a_scope() {
    let limit = seconds(1);
    let tasks = async {
        let bare = tokio::spawn(async { seen() }).await.unwrap();
        (bare, tokio::spawn(Deadline::scope(async { seen() })).await.unwrap())
    };
    let (bare, scoped) = Sheddable.around(limit.around(tasks)).await;
    assert_eq!(bare, (None, Critical));
    assert_eq!(scoped, (Some(limit), Sheddable));
}

#[tokio::test(start_paused = true)]
async fn scope_keeps_its_criticality_wherever_it_is_polled() {
    let mut scoped = pin!(Deadline::scope(async { Criticality::current() }));
    let mut cx = Context::from_waker(Waker::noop());
    let seen = Sheddable.with(|| scoped.as_mut().poll(&mut cx));
    assert_eq!(seen, Poll::Ready(Critical), "it was made where nothing was said");
}

fn seconds(seconds: u64) -> Deadline {
    Deadline::after(Duration::from_secs(seconds))
}

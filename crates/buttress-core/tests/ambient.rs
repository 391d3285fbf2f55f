//! The ambient deadline, attempt and criticality: their reach, their restoring, their cost.

use std::{
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{Attempt, Criticality, Deadline, InnerReport, SharedCount, Signals, Spent};
use futures_util::{StreamExt, stream::FuturesUnordered};
use proptest::prelude::*;
use tokio::{task::LocalSet, time::Instant};

fn seconds(seconds: u64) -> Deadline {
    Deadline::after(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn nested_scopes_restore_the_former_value() {
    let (outer, inner) = (seconds(2), seconds(1));
    Deadline::with(Some(outer), || {
        Deadline::with(Some(inner), || assert_eq!(Deadline::current(), Some(inner)));
        assert_eq!(Deadline::current(), Some(outer));
        Deadline::with(None, || assert_eq!(Deadline::current(), None));
        assert_eq!(Deadline::current(), Some(outer));
    });
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn deadline_with_restores_the_former_deadline_on_panic() {
    let outer = seconds(2);
    Deadline::with(Some(outer), || {
        let panicked = catch_unwind(|| Deadline::with(Some(seconds(1)), || panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(Deadline::current(), Some(outer));

        let attempt = Attempt::FIRST.next();
        let panicked = catch_unwind(|| attempt.with(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(Attempt::current(), Attempt::FIRST);

        let panicked = catch_unwind(|| Criticality::Sheddable.with(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(Criticality::current(), Criticality::Critical);
    });
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn panicking_future_leaves_no_deadline_behind() {
    let mut broken = Box::pin(seconds(1).around(async { panic!("on purpose") }));
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| broken.as_mut().poll(&mut cx).map(|(): ()| ()));
    assert!(catch_unwind(poll).is_err());
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn unwinding_code_sees_the_deadline_it_runs_under() {
    struct Seen<'a>(&'a mut Option<Deadline>);
    impl Drop for Seen<'_> {
        fn drop(&mut self) {
            *self.0 = Deadline::current();
        }
    }
    let limit = seconds(1);
    let mut seen = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        Deadline::with(Some(limit), || {
            let _seen = Seen(&mut seen);
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(seen, Some(limit));
}

#[tokio::test(start_paused = true)]
async fn scoped_future_keeps_its_deadline_wherever_it_is_polled() {
    let mut none = pin!(Deadline::scope(poll_fn(|_| Poll::Ready(Deadline::current()))));
    let other = seconds(1);
    let seen =
        Deadline::with(Some(other), || none.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    assert_eq!(seen, Poll::Ready(None), "it was made where nothing was ambient");
}

#[tokio::test(start_paused = true)]
async fn deadline_around_never_extends_the_ambient_deadline() {
    let (long, short) = (seconds(9), seconds(1));
    let see = || async { Deadline::current() };
    let shortened = short.around(async { long.around(see()).await });
    assert_eq!(shortened.await, Some(short));
    assert_eq!(long.around(async { short.around(see()).await }).await, Some(short));
}

#[tokio::test(start_paused = true)]
async fn deadline_around_is_ambient_only_during_polls() {
    let limit = seconds(1);
    let mut polls = 0;
    let mut future = pin!(limit.around(poll_fn(|_| {
        assert_eq!(Deadline::current(), Some(limit));
        polls += 1;
        if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
    })));
    let mut cx = Context::from_waker(Waker::noop());
    while future.as_mut().poll(&mut cx).is_pending() {
        assert_eq!(Deadline::current(), None);
    }
    assert_eq!(polls, 3);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a task is what the deadline is carried to")]
async fn spawned_task_sees_the_deadline_only_in_a_scope() {
    let limit = seconds(1);
    let (bare, scoped) = limit
        .around(async {
            let see = async { Deadline::current() };
            let bare = tokio::spawn(see).await.unwrap();
            let see = async { Deadline::current() };
            (bare, tokio::spawn(Deadline::scope(see)).await.unwrap())
        })
        .await;
    assert_eq!(bare, None);
    assert_eq!(scoped, Some(limit));
}

/// A known limit: a future that is polled inside a scope sees the scope, even if it belongs to
/// another call.
#[tokio::test(start_paused = true)]
async fn unscoped_future_sees_the_deadline_of_the_polling_call() {
    let others = FuturesUnordered::<Pin<Box<dyn Future<Output = _>>>>::new();
    others.push(Box::pin(async { Deadline::current() }));
    others.push(Box::pin(Deadline::scope(async { Deadline::current() })));
    let limit = seconds(1);
    let mut seen: Vec<_> = limit.around(others.collect()).await;
    seen.sort();
    assert_eq!(seen, [None, Some(limit)]);
}

/// The same limit, with tasks: a `LocalSet` is polled by its awaiter.
#[tokio::test(start_paused = true)]
async fn unscoped_tasks_of_a_local_set_see_the_deadline_of_its_awaiter() {
    let local = LocalSet::new();
    let bare = local.spawn_local(async { Deadline::current() });
    let scoped = local.spawn_local(Deadline::scope(async { Deadline::current() }));
    let limit = seconds(1);
    let seen = limit
        .around(local.run_until(async move { (bare.await.unwrap(), scoped.await.unwrap()) }))
        .await;
    // `LocalSet::run_until` polls the set under the same scope.
    assert_eq!(seen, (Some(limit), None));
}

#[test]
fn ambient_values_do_not_allocate() {
    let limit = Deadline::at(Instant::now());
    let mut scoped = pin!(limit.around(pending::<()>()));
    let mut cx = Context::from_waker(Waker::noop());
    let counted = allocation_counter::measure(|| {
        Deadline::with(Some(limit), || assert_eq!(Deadline::current(), Some(limit)));
        Attempt::FIRST.next().with(|| assert_eq!(Attempt::current().number(), 2));
        Criticality::Sheddable.with(|| assert_eq!(Criticality::current(), Criticality::Sheddable));
        assert!(Signals::watch(Signals::raise_gave_up).1.gave_up);
        assert!(scoped.as_mut().poll(&mut cx).is_pending());
    });
    assert_eq!(counted.count_total, 0);
}

#[tokio::test(start_paused = true)]
async fn remaining_is_zero_after_the_deadline() {
    let limit = seconds(1);
    tokio::time::advance(Duration::from_millis(400)).await;
    assert_eq!(limit.remaining(), Duration::from_millis(600));
    assert!(!limit.has_passed());
    tokio::time::advance(Duration::from_millis(600)).await;
    assert_eq!(limit.remaining(), Duration::ZERO);
    assert!(limit.has_passed());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(limit.remaining(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn deadline_accepts_a_timeout_of_any_length() {
    assert_eq!(Deadline::after(Duration::MAX), Deadline::after(Deadline::NEVER));
    assert!(Deadline::after(Duration::ZERO).has_passed());
    assert!(!Deadline::after(Duration::from_nanos(1)).has_passed());
}

#[tokio::test(start_paused = true)]
async fn head_deadline_is_separate_from_the_whole_deadline() {
    let (head, call) = (seconds(1), seconds(2));
    let seen = || (Deadline::current(), Deadline::whole(), Deadline::head());
    Deadline::with(Some(call), || {
        head.until_head(|| {
            assert_eq!(seen(), (Some(head), Some(call), Some(head)));
            // A later one changes nothing, and what a layer inside carries on is the whole call's.
            seconds(3).until_head(|| assert_eq!(Deadline::head(), Some(head)));
            Deadline::with(Some(call), || assert_eq!(seen(), (Some(head), Some(call), Some(head))));
            Deadline::with(None, || assert_eq!(seen(), (Some(head), None, Some(head))));
        });
        assert_eq!(seen(), (Some(call), Some(call), None));
    });
    seconds(3).until_head(|| {
        Deadline::with(Some(call), || assert_eq!(Deadline::current(), Some(call)));
    });
}

#[test]
fn head_deadline_is_restored_on_panic() {
    let panicked = std::panic::catch_unwind(|| seconds(1).until_head(|| panic!("inside")));
    assert!(panicked.is_err());
    assert_eq!(Deadline::head(), None);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a task is what the deadline is carried to")]
async fn scope_does_not_carry_the_head_deadline() {
    let see = || async { Deadline::current().map(Deadline::remaining) };
    let (head, call) = (seconds(1), seconds(2));
    let scope = || {
        Deadline::with(Some(call), || {
            head.until_head(|| (Deadline::scope(see()), seconds(3).around(see())))
        })
    };
    let two = Some(Duration::from_secs(2));
    let (scoped, around) = scope();
    assert_eq!(scoped.await, two);
    assert_eq!(around.await, two);
    let (scoped, around) = scope();
    let seen = (tokio::spawn(scoped).await.unwrap(), tokio::spawn(around).await.unwrap());
    assert_eq!(seen, (two, two));
}

proptest! {
    #[test]
    fn earliest_deadline_does_not_depend_on_the_order(
        a in proptest::option::of(0..1000_u64),
        b in proptest::option::of(0..1000_u64),
    ) {
        let start = Instant::now();
        let deadline = |ms| Deadline::from_start(start, Duration::from_millis(ms));
        let earliest = Deadline::earliest(a.map(deadline), b.map(deadline));
        prop_assert_eq!(earliest, Deadline::earliest(b.map(deadline), a.map(deadline)));
        let expected = [a, b].into_iter().flatten().min();
        prop_assert_eq!(earliest, expected.map(deadline));
    }
}

#[test]
fn attempts_count_from_one_and_saturate() {
    assert_eq!(Attempt::FIRST.number(), 1);
    assert_eq!(Attempt::FIRST.previous_attempts(), 0);
    let third = Attempt::FIRST.next().next();
    assert_eq!(third.number(), 3);
    assert_eq!(third.previous_attempts(), 2);
    third.with(|| {
        assert_eq!(Attempt::current(), third);
        Attempt::FIRST.with(|| assert_eq!(Attempt::current(), Attempt::FIRST));
        assert_eq!(Attempt::current(), third);
    });
    assert_eq!(Attempt::current(), Attempt::FIRST);
}

#[test]
fn signal_is_seen_by_the_polling_layer_only() {
    let ((inner, nothing), outer) = Signals::watch(|| {
        let ((), inner) = Signals::watch(Signals::raise_gave_up);
        let ((), nothing) = Signals::watch(|| {});
        (inner, nothing)
    });
    assert!(inner.gave_up);
    assert!(!nothing.gave_up, "a mark is not left for who polls next");
    assert!(!outer.gave_up, "a mark is for the nearest layer, which may leave one of its own");
}

#[test]
fn nested_layer_that_gives_up_signals_the_next_layer() {
    let (inner, outer) = Signals::watch(|| {
        let ((), inner) = Signals::watch(Signals::raise_gave_up);
        Signals::raise_gave_up();
        inner
    });
    assert!(inner.gave_up && outer.gave_up);
}

#[test]
fn panic_leaves_signals_unchanged() {
    let ((), outer) = Signals::watch(|| {
        Signals::raise_gave_up();
        let panicked = catch_unwind(|| {
            Signals::watch(|| {
                Signals::raise_gave_up();
                panic!("on purpose")
            })
        });
        assert!(panicked.is_err());
    });
    assert!(outer.gave_up, "the mark that was there before");
    let ((), later) = Signals::watch(|| {});
    assert!(!later.gave_up);
}

#[test]
fn signals_report_the_latest_raised_deadline_to_the_polling_layer() {
    let (early, late) = (seconds(1), seconds(2));
    let ((inner, nothing), outer) = Signals::watch(|| {
        let ((), inner) = Signals::watch(|| {
            Signals::raise_deadline(late);
            Signals::raise_deadline(early);
        });
        let ((), nothing) = Signals::watch(|| {});
        (inner, nothing)
    });
    assert_eq!(inner.deadline, Some(late));
    assert_eq!(nothing, Signals::default());
    assert_eq!(outer, Signals::default());
    let ((), outer) = Signals::watch(|| {
        Signals::raise_deadline(early);
        let panicked = catch_unwind(|| {
            Signals::watch(|| {
                Signals::raise_deadline(late);
                panic!("on purpose")
            })
        });
        assert!(panicked.is_err());
    });
    assert_eq!(outer.deadline, Some(early), "what was there before, also after a panic");
}

#[test]
fn spent_calls_add_up_and_saturate() {
    let ((), signals) = Signals::watch(|| {
        Signals::raise_spent(Spent::new(2, 0));
        Signals::raise_spent(Spent::new(1, 3));
    });
    assert_eq!(signals.spent, Spent::new(3, 3));
    let most = Spent::new(u16::MAX, u16::MAX);
    assert_eq!(most.plus(Spent::new(1, 1)), most);
    let ((), signals) = Signals::watch(|| {
        Signals::raise_spent(most);
        Signals::raise_spent(Spent::new(0, 1));
    });
    assert_eq!(signals.spent, most);
}

#[test]
fn spent_of_zero_raises_no_signal() {
    let ((), signals) = Signals::watch(|| Signals::raise_spent(Spent::default()));
    assert!(signals.is_empty() && signals.spent.is_zero());
}

/// Every combination of the four signals, as a number in binary.
fn signals(which: u32, deadline: Deadline) {
    if which & 1 != 0 {
        Signals::raise_gave_up();
    }
    if which & 2 != 0 {
        Signals::raise_degraded();
    }
    if which & 4 != 0 {
        Signals::raise_deadline(deadline);
    }
    if which & 8 != 0 {
        Signals::raise_spent(Spent::new(1, 2));
    }
}

#[test]
fn every_combination_of_signals_is_hidden_inside_and_restored_outside() {
    let (early, late) = (seconds(1), seconds(2));
    let alone = |which, deadline| Signals::watch(|| signals(which, deadline)).1;
    let count = SharedCount::new();
    for (outside, inside) in (0..16).flat_map(|o| (0..16).map(move |i| (o, i))) {
        let mut report = InnerReport::EMPTY;
        let ((), outer) = Signals::watch(|| {
            // The value of an earlier signal must not show up in a later one.
            Signals::watch(|| signals(12, seconds(9)));
            signals(outside, early);
            let ((), inner) = Signals::watch(|| signals(inside, late));
            assert_eq!(inner, alone(inside, late), "{outside} {inside}");
            count.run_and_report(Attempt::FIRST, &mut report, || signals(inside, late));
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                count.run(Attempt::FIRST, || {
                    signals(inside, late);
                    panic!("on purpose")
                })
            }));
            assert!(panicked.is_err());
        });
        assert_eq!(report.signals(), alone(inside, late), "{outside} {inside}");
        assert_eq!(outer, alone(outside, early), "{outside} {inside}");
    }
}

#[test]
fn signals_raised_again_are_those_that_were_watched() {
    let deadline = seconds(1);
    for which in 0..16 {
        let ((), first) = Signals::watch(|| signals(which, deadline));
        let ((), again) = Signals::watch(|| first.raise());
        assert_eq!(again, first);
        assert_eq!(again.is_empty(), which == 0);
        assert_eq!((again.gave_up, again.degraded), (which & 1 != 0, which & 2 != 0));
        assert_eq!(again.deadline, (which & 4 != 0).then_some(deadline));
        let spent = if which & 8 != 0 { Spent::new(1, 2) } else { Spent::default() };
        assert_eq!(again.spent, spent);
    }
}

#[test]
fn transparent_attempt_adds_to_the_number_and_not_to_previous_attempts() {
    let transparent = Attempt::FIRST.transparent();
    assert_eq!(transparent.number(), 2);
    assert_eq!(transparent.previous_attempts(), 0);
    let next = transparent.next();
    assert_eq!(next.number(), 3);
    assert_eq!(next.previous_attempts(), 1);
}

#[test]
fn spare_attempt_stays_spare_in_the_attempts_after_it() {
    assert!(!Attempt::FIRST.is_spare() && !Attempt::FIRST.next().transparent().is_spare());
    let spare = Attempt::FIRST.spare();
    assert!(spare.is_spare() && spare.spare() == spare);
    assert!(spare.next().is_spare() && spare.transparent().is_spare());
    assert_eq!(Attempt::FIRST.next().spare(), spare.next());
    assert_eq!(Attempt::FIRST.transparent().spare(), spare.transparent());
    assert_eq!(spare.next().not_spare(), Attempt::FIRST.next());
    assert_eq!(Attempt::FIRST.not_spare(), Attempt::FIRST);
}

#[test]
fn spare_attempt_has_the_numbers_of_the_same_attempt_that_is_not_spare() {
    let (mut attempt, mut spare) = (Attempt::FIRST, Attempt::FIRST.spare());
    for transparent in [false, true, true, false, false] {
        let after = |attempt: Attempt| {
            if transparent { attempt.transparent() } else { attempt.next() }
        };
        (attempt, spare) = (after(attempt), after(spare));
        assert_eq!(spare.number(), attempt.number());
        assert_eq!(spare.previous_attempts(), attempt.previous_attempts());
    }
    assert_eq!((spare.number(), spare.previous_attempts()), (6, 3));
}

#[test]
fn attempts_are_ordered_by_their_numbers_before_the_spare_bit() {
    let (first, second) = (Attempt::FIRST, Attempt::FIRST.next());
    assert!(first < first.spare() && first.spare() < first.transparent());
    assert!(first.transparent().spare() < second);
}

#[test]
fn spare_attempt_is_ambient_and_restored_after_a_panic() {
    Attempt::FIRST.spare().with(|| {
        assert!(Attempt::current().is_spare());
        let panicked = catch_unwind(|| Attempt::FIRST.with(|| panic!("on purpose")));
        assert!(panicked.is_err() && Attempt::current().is_spare());
    });
    assert!(!Attempt::current().is_spare());
}

#[test]
fn attempt_of_a_shared_count_is_spare_if_the_outer_attempt_is() {
    let (outer, inner) = (SharedCount::new(), SharedCount::new());
    let (first, second) = (Attempt::FIRST, Attempt::FIRST.next());
    first.spare().with(|| {
        outer.run(second, || {
            assert_eq!(Attempt::current(), second.spare());
            inner.run_and_report(first, &mut InnerReport::EMPTY.clone(), || {
                assert_eq!(Attempt::current(), first.spare());
            });
            assert_eq!(Attempt::current(), second.spare());
        });
        assert_eq!(Attempt::current(), first.spare());
    });
    outer.run(second.spare(), || assert_eq!(Attempt::current(), second.spare()));
    outer.run(second, || assert_eq!(Attempt::current(), second));
}

#[test]
fn debug_text_of_an_attempt_says_whether_it_is_spare() {
    let attempt = Attempt::FIRST.next();
    assert!(format!("{attempt:?}").contains("spare: false"));
    assert!(format!("{:?}", attempt.spare()).contains("spare: true"));
}

#[test]
fn shared_count_knows_whether_a_call_is_new() {
    let (a, b) = (SharedCount::new(), SharedCount::new());
    assert!(a.is_new_call() && !a.without_calls().is_new_call());
    a.run(Attempt::FIRST, || {
        assert!(!a.is_new_call() && b.is_new_call());
        b.run(Attempt::FIRST, || assert!(!a.is_new_call() && !b.is_new_call()));
    });
    a.without_calls().run(Attempt::FIRST, || assert!(a.is_new_call()));
    a.run(Attempt::FIRST.next(), || assert!(!b.is_new_call() && SharedCount::is_repeated()));
    a.run(Attempt::FIRST.transparent(), || assert!(b.is_new_call()));
    assert!(a.is_new_call() && !SharedCount::is_repeated());
}

#[test]
fn counted_outcome_is_seen_by_layers_of_the_same_count_only() {
    let (a, b) = (SharedCount::new(), SharedCount::new());
    let (mut outer, mut middle) = (InnerReport::EMPTY, InnerReport::EMPTY);
    let counted = a.run_and_report(Attempt::FIRST, &mut outer, || {
        b.run_and_report(Attempt::FIRST, &mut middle, || {
            a.run(Attempt::FIRST, || a.mark_counted());
        });
        middle.is_counted()
    });
    assert!(outer.is_counted() && !counted);
    a.run_and_report(Attempt::FIRST, &mut outer, || {});
    assert!(!outer.is_counted());
}

#[test]
fn shared_count_restores_ambient_values_on_panic_at_any_depth() {
    let count = SharedCount::new();
    for depth in [1, 16, 17, 40] {
        assert!(std::panic::catch_unwind(|| deeper(count, depth)).is_err());
        assert!(count.is_new_call() && Attempt::current() == Attempt::FIRST);
    }
}

fn deeper(count: SharedCount, left: u32) {
    match left {
        0 => std::panic::resume_unwind(Box::new("on purpose")),
        _ => count.run(Attempt::FIRST.next(), || deeper(count, left - 1)),
    }
}

#[test]
fn announced_deadline_stands_for_all_earlier_announcements() {
    let steps = [9, 8, 7, 6, 5].map(seconds);
    let [first, second, third, fourth, last] = steps;
    for pair in steps.windows(2) {
        Deadline::with(Some(pair[0]), || pair[1].announces());
    }
    assert_eq!([first, second, third, fourth].map(Deadline::announced), [Some(last); 4]);
    assert_eq!(last.announced(), None);

    let shorter = seconds(4);
    Deadline::with(Some(third), || shorter.announces());
    let heard = [first, second, third].map(Deadline::announced);
    assert_eq!(heard, [Some(shorter); 3], "another attempt");
    assert_eq!(fourth.announced(), None);

    Deadline::with(Some(last), || shorter.announces());
    assert_eq!([first, third].map(Deadline::announced), [None; 2], "another call");
    assert_eq!(last.announced(), Some(shorter));
}

#[test]
fn taken_signals_are_raised_no_more() {
    assert!(!Signals::any_raised());
    assert_eq!(Signals::take(), Signals::default());
    let spent = Spent::new(1, 2);
    Signals::raise_degraded();
    Signals::raise_spent(spent);
    assert!(Signals::any_raised());
    let taken = Signals::take();
    assert_eq!((taken.degraded, taken.spent, taken.gave_up), (true, spent, false));
    assert!(!Signals::any_raised());
    assert_eq!(Signals::take(), Signals::default());
    taken.raise();
    assert_eq!(Signals::take(), taken);
}

#[test]
fn watch_raised_returns_only_the_signals_of_its_own_run() {
    let ((), outside) = Signals::watch(|| {
        assert_eq!(Signals::watch_raised(|| 1), (1, None));
        let ((), seen) = Signals::watch_raised(Signals::raise_degraded);
        assert!(seen.is_some_and(|signals| signals.degraded));
        assert!(!Signals::any_raised(), "taken");
        let panicked = catch_unwind(|| {
            Signals::watch_raised(|| {
                Signals::raise_degraded();
                panic!("on purpose")
            })
        });
        assert!(panicked.is_err());
        assert!(!Signals::any_raised(), "cleared by the panic");
        Signals::raise_gave_up();
        assert_eq!(Signals::watch_raised(|| 2), (2, None));
        let ((), seen) = Signals::watch_raised(Signals::raise_degraded);
        assert!(seen.is_some_and(|signals| signals.degraded && !signals.gave_up));
    });
    assert!(outside.gave_up && !outside.degraded, "those around are put back");
}

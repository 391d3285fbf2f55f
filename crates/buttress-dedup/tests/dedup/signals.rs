//! The signals of a flight reach each of its callers, and no other call.

use buttress_core::{Deadline, Signals, Spent};
use buttress_dedup::DedupLayer;
use tokio::time::advance;
use tokio_test::task::Spawn;
use tower::{Layer, Service, service_fn};

use crate::support::{Failure, call, ms, waiting};

fn deadline() -> Deadline {
    Deadline::after(ms(1_000))
}

fn raise_all() {
    Signals::raise_degraded();
    Signals::raise_deadline(deadline());
    Signals::raise_spent(Spent::new(2, 1));
}

/// A service that raises all signals in the poll of its outcome, after 50 ms.
fn signalling(
    outcome: Result<u32, Failure>,
) -> impl Service<u32, Response = u32, Error = Failure, Future: Send> + Clone + Send + 'static {
    service_fn(move |_: u32| {
        let outcome = outcome.clone();
        async move {
            tokio::time::sleep(ms(50)).await;
            raise_all();
            outcome
        }
    })
}

/// The signals of a poll, which must be the last.
fn last<F: Future>(call: &mut Spawn<F>) -> Signals {
    let (polled, signals) = Signals::watch(|| call.poll());
    assert!(polled.is_ready());
    signals
}

#[tokio::test(start_paused = true)]
async fn every_caller_of_a_flight_sees_its_signals_and_one_what_it_spent() {
    for outcome in [Ok(1), Err(Failure::Down(1))] {
        let service = DedupLayer::new().share_errors().layer(signalling(outcome));
        let mut calls = [(); 3].map(|()| waiting(&service, 1));
        advance(ms(50)).await;
        // The last caller drives.
        calls.reverse();
        let mut spent = Spent::default();
        for call in &mut calls {
            let signals = last(call);
            assert!(signals.degraded && !signals.gave_up);
            assert_eq!(signals.deadline, Some(deadline()));
            spent = spent.plus(signals.spent);
        }
        assert_eq!(spent, Spent::new(2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn signals_of_a_flight_do_not_stay_with_the_caller_that_drives_it() {
    let service = DedupLayer::new().layer(signalling(Err(Failure::Down(1))));
    let (mut first, mut second) = (waiting(&service, 1), waiting(&service, 1));
    advance(ms(50)).await;
    // The second caller drives and restarts, because an unshared error goes to the first.
    let (polled, signals) = Signals::watch(|| second.poll());
    assert!(polled.is_pending() && signals.is_empty(), "{signals:?}");
    assert!(last(&mut first).degraded);
}

#[tokio::test(start_paused = true)]
async fn lone_caller_and_bypassing_caller_see_all_signals() {
    let everything = Spent::new(2, 1);
    let lone = DedupLayer::new().layer(signalling(Ok(1)));
    let bypassing = DedupLayer::keyed(|_: &u32| None::<u32>).layer(signalling(Ok(1)));
    let mut calls = (waiting(&lone, 1), waiting(&bypassing, 1));
    advance(ms(50)).await;
    for signals in [last(&mut calls.0), last(&mut calls.1)] {
        assert!(signals.degraded && signals.spent == everything);
    }
}

#[tokio::test(start_paused = true)]
async fn follower_whose_leader_left_sees_what_the_flight_spent() {
    let service = DedupLayer::new().layer(signalling(Ok(1)));
    let (leader, mut follower) = (waiting(&service, 1), waiting(&service, 1));
    drop(leader);
    advance(ms(50)).await;
    assert_eq!(last(&mut follower).spent, Spent::new(2, 1));
}

#[tokio::test(start_paused = true)]
async fn observing_layer_passes_signals_on() {
    let service = DedupLayer::new().observe().layer(signalling(Ok(1)));
    let mut calls = [(); 2].map(|()| waiting(&service, 1));
    advance(ms(50)).await;
    for call in &mut calls {
        assert_eq!(last(call).spent, Spent::new(2, 1), "each made a call of its own");
    }
}

#[tokio::test(start_paused = true)]
async fn signals_raised_while_the_call_was_pending_are_not_those_of_its_outcome() {
    let service = DedupLayer::new().layer(service_fn(|_: u32| async {
        Signals::raise_degraded();
        tokio::time::sleep(ms(50)).await;
        Ok::<_, Failure>(1)
    }));
    let mut only = call(&service, 1);
    let (polled, signals) = Signals::watch(|| only.poll());
    assert!(polled.is_pending() && signals.is_empty());
    advance(ms(50)).await;
    assert!(last(&mut only).is_empty());
}

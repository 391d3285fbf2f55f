//! Wakers, fairness between the tries, and panics.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Attempt, BoxError};
use tokio::{
    sync::oneshot,
    task::consume_budget,
    time::{advance, sleep},
};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{MS, SECOND, hedging};

type Answer = Result<u32, BoxError>;

/// A service whose tries are ended by hand, and the ends of the tries.
#[derive(Clone, Default)]
struct ByHand(Arc<Mutex<VecDeque<oneshot::Sender<Answer>>>>);

impl ByHand {
    fn end(&self, place: usize, answer: Answer) {
        let sender = self.0.lock().unwrap().remove(place).unwrap();
        sender.send(answer).unwrap();
    }
}

impl Service<u32> for ByHand {
    type Response = u32;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap().push_back(sender);
        Box::pin(async { receiver.await.unwrap() })
    }
}

#[tokio::test(start_paused = true)]
async fn each_try_that_wakes_the_task_is_polled() {
    for place in 0..8 {
        let by_hand = ByHand::default();
        let service = hedging(Duration::ZERO).at_most(7).layer(by_hand.clone());
        let mut call = task::spawn(service.oneshot(1));
        assert_pending!(call.poll());
        assert!(!call.is_woken());
        by_hand.end(place, Ok(7));
        assert!(call.is_woken());
        assert_eq!(assert_ready!(call.poll()).unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn waker_of_the_last_poll_is_woken_by_each_try() {
    for place in 0..3 {
        let by_hand = ByHand::default();
        let mut call =
            Box::pin(hedging(Duration::ZERO).at_most(2).layer(by_hand.clone()).oneshot(1));
        let mut other = task::spawn(std::future::poll_fn(|cx| call.as_mut().poll(cx)));
        assert_pending!(other.poll());
        drop(other);
        let mut last = task::spawn(std::future::poll_fn(|cx| call.as_mut().poll(cx)));
        assert_pending!(last.poll());
        by_hand.end(place, Ok(7));
        assert!(last.is_woken());
        assert!(last.poll().is_ready());
    }
}

#[tokio::test(start_paused = true)]
async fn failed_tries_leave_the_others_where_they_are() {
    let by_hand = ByHand::default();
    let mut call =
        task::spawn(hedging(Duration::ZERO).at_most(5).layer(by_hand.clone()).oneshot(1));
    assert_pending!(call.poll());
    for place in [4, 0, 1] {
        by_hand.end(place, Err("failed".into()));
        assert!(call.is_woken());
        assert_pending!(call.poll());
    }
    for _ in 0..7 {
        assert_pending!(call.poll());
    }
    by_hand.end(2, Ok(7));
    assert_eq!(assert_ready!(call.poll()).unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn timer_wakes_the_waker_of_the_last_poll() {
    let by_hand = ByHand::default();
    let mut call = Box::pin(hedging(50 * MS).layer(by_hand.clone()).oneshot(1));
    let mut other = task::spawn(std::future::poll_fn(|cx| call.as_mut().poll(cx)));
    assert_pending!(other.poll());
    drop(other);
    let mut last = task::spawn(std::future::poll_fn(|cx| call.as_mut().poll(cx)));
    assert_pending!(last.poll());
    advance(51 * MS).await;
    assert!(last.is_woken());
    assert_pending!(last.poll());
    assert_eq!(by_hand.0.lock().unwrap().len(), 2);
}

/// A try that uses up the cooperative budget of its task in each poll leaves none for the tries that
/// are polled after it.
#[tokio::test(start_paused = true)]
async fn greedy_try_does_not_starve_the_others() {
    for greedy in 0..4 {
        let service = service_fn(move |_: u32| async move {
            if Attempt::current().number() == greedy + 1 {
                loop {
                    consume_budget().await;
                }
            }
            // Never ends in a poll that begins without budget.
            for _ in 0..100 {
                consume_budget().await;
            }
            let is_last = Attempt::current().number() == if greedy == 3 { 3 } else { 4 };
            if is_last { Ok(7) } else { std::future::pending::<Answer>().await }
        });
        let call = tokio::spawn(hedging(Duration::ZERO).at_most(3).layer(service).oneshot(1));
        // Real time does not matter: the greedy try never lets the clock move.
        let mut polls = 0;
        while !call.is_finished() {
            polls += 1;
            assert!(polls < 10_000, "the call starves");
            tokio::task::yield_now().await;
        }
        assert_eq!(call.await.unwrap().unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_try_passes_on_and_the_others_are_dropped() {
    for panics in [1, 2] {
        let alive = Arc::new(());
        let count = Arc::clone(&alive);
        let service = service_fn(move |_: u32| {
            let alive = Arc::clone(&count);
            async move {
                sleep(60 * MS).await;
                if Attempt::current().number() == panics {
                    std::panic::panic_any("a panic of the service");
                }
                std::future::pending::<()>().await;
                drop(alive);
                Ok::<_, BoxError>(1)
            }
        });
        let call = tokio::spawn(hedging(50 * MS).layer(service).oneshot(1));
        sleep(55 * MS).await;
        assert_eq!(Arc::strong_count(&alive), 3, "two tries run");
        let error = call.await.unwrap_err();
        assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "a panic of the service");
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

/// HG-13.
#[tokio::test(start_paused = true)]
async fn dropping_the_call_drops_all_tries_at_once() {
    let by_hand = ByHand::default();
    let mut call = task::spawn(hedging(50 * MS).at_most(3).layer(by_hand.clone()).oneshot(1));
    assert_pending!(call.poll());
    advance(51 * MS).await;
    assert_pending!(call.poll());
    drop(call);
    let senders = by_hand.0.lock().unwrap();
    assert_eq!(senders.len(), 2);
    assert!(senders.iter().all(oneshot::Sender::is_closed));
}

#[tokio::test(start_paused = true)]
async fn call_may_move_to_another_task_between_polls() {
    let by_hand = ByHand::default();
    let mut call = Box::pin(hedging(50 * MS).layer(by_hand.clone()).oneshot(1));
    let mut first = task::spawn(std::future::poll_fn(|cx| call.as_mut().poll(cx)));
    assert_pending!(first.poll());
    drop(first);
    let spawned = tokio::spawn(call);
    sleep(SECOND).await;
    by_hand.end(1, Ok(2));
    assert_eq!(spawned.await.unwrap().unwrap(), 2);
}

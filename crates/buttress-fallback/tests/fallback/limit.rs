//! The limit of the calls of the alternative service.

use buttress_fallback::{FallbackLayer, FallbackSnapshot};
use buttress_testkit::{TestError, counts};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{Count, Counted, failing, poll_once, tenfold};

#[tokio::test(start_paused = true)]
async fn ten_of_fifteen_callers_get_the_alternative_and_five_get_their_first_outcome() {
    let second = tenfold();
    second.hold();
    let layer = FallbackLayer::service(second.clone());
    let service = layer.layer(failing(TestError::Failed));
    let mut calls: Vec<_> = (0..15).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    let mut refused = 0;
    for call in &mut calls[..] {
        if let std::task::Poll::Ready(outcome) = poll_once(call).await {
            assert_eq!(outcome, Err(TestError::Failed));
            refused += 1;
        }
    }
    assert_eq!((second.live(), refused), (10, 5));
    let running = counts!(FallbackSnapshot { calls: 15, full: 5, in_flight: 10 });
    assert_eq!(layer.handle().snapshot(), running);
    second.release();
    for (number, call) in (0..10).zip(calls) {
        assert_eq!(call.await, Ok(10 * number));
    }
    let ended = counts!(FallbackSnapshot { answered: 10, in_flight: 0, ..running });
    assert_eq!(layer.handle().snapshot(), ended);
    assert_eq!(service.oneshot(1).await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_the_alternative_takes_a_place() {
    let second = tenfold().permits(0);
    let layer = FallbackLayer::service(second.clone()).at_most(1);
    let service = layer.layer(failing(TestError::Failed));
    let mut waiting = Box::pin(service.clone().oneshot(1));
    assert!(poll_once(&mut waiting).await.is_pending());
    assert_eq!(second.waiting(), 1);
    assert_eq!(service.oneshot(2).await, Err(TestError::Failed));
    assert_eq!(layer.handle().in_flight(), 1);
    drop(waiting);
    assert_eq!(layer.handle().in_flight(), 0);
    assert!(second.at_rest());
}

#[tokio::test(start_paused = true)]
async fn limit_of_zero_never_calls_the_alternative_and_keeps_no_request() {
    let (clones, second) = (Count::default(), Count::default());
    let calls = second.clone();
    let first = service_fn(|_: Counted| std::future::ready(Err::<u32, _>(TestError::Failed)));
    let alternative = service_fn(move |_: Counted| {
        calls.add();
        async { Ok::<_, TestError>(1) }
    });
    let layer = FallbackLayer::service(alternative).at_most(0);
    let request = Counted { number: 1, clones: clones.clone() };
    assert_eq!(layer.layer(first).oneshot(request).await, Err(TestError::Failed));
    assert_eq!((clones.get(), second.get()), (0, 0));
    let expected = counts!(FallbackSnapshot { calls: 1, full: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn largest_limit_admits_every_call() {
    let layer = FallbackLayer::service(tenfold()).at_most(u32::MAX);
    assert_eq!(layer.layer(failing(TestError::Failed)).oneshot(1).await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn place_is_free_before_the_answer_is_returned() {
    let layer = FallbackLayer::service(tenfold()).at_most(1);
    let service = layer.layer(failing(TestError::Failed));
    for number in 0..3 {
        let mut call = Box::pin(service.clone().oneshot(number));
        assert!(poll_once(&mut call).await.is_ready());
        // `call` is still alive here.
        assert_eq!(layer.handle().in_flight(), 0);
    }
    assert_eq!(layer.handle().answered(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_running_calls_never_exceeds_the_limit_on_many_threads() {
    let (running, most) = (Count::default(), Count::default());
    let gauge = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (count, over) = (running.clone(), most.clone());
    let alternative = service_fn(move |number: u32| {
        let (gauge, over) = (std::sync::Arc::clone(&gauge), over.clone());
        count.add();
        async move {
            let now = gauge.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            if now > 3 {
                over.add();
            }
            tokio::task::yield_now().await;
            gauge.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, TestError>(number)
        }
    });
    let layer = FallbackLayer::service(alternative).at_most(3);
    let service = layer.layer(failing(TestError::Failed));
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200 {
        calls.spawn(service.clone().oneshot(number));
    }
    while let Some(outcome) = calls.join_next().await {
        assert!(matches!(outcome.unwrap(), Ok(_) | Err(TestError::Failed)));
    }
    assert_eq!(most.get(), 0);
    let seen = layer.handle().snapshot();
    assert_eq!(seen.answered, u64::try_from(running.get()).unwrap());
    assert_eq!((seen.answered + seen.full, seen.in_flight), (200, 0));
}

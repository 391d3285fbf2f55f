//! A hedge above the other layers of a client: limits, rates, circuits, retries and flights.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::{
    Attempt, Backoff, BoxError, Budget, DeadlineLayer, DedupLayer, Rate, Ratio, RetryLayer,
    ThrottleLayer, Vegas,
    breaker::{BreakerLayer, CircuitState},
    hedge::HedgeLayer,
};
use buttress_testkit::{Script, Scripted, contract};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Upstream = Scripted<u32, u32, BoxError>;

fn script() -> Script<u32, u32, BoxError> {
    Script::new()
}

fn hedge() -> HedgeLayer {
    HedgeLayer::after(50 * MS).budget(Budget::unlimited())
}

/// Lets the tasks of the test make progress at the present time.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn full_limit_refuses_a_hedge_and_never_queues_it() {
    let upstream = script().delay(200 * MS).ok(1).service();
    let (hedge, limit) = (hedge().at_most(3), ThrottleLayer::concurrency(1).queue(100));
    let (hedges, permits) = (hedge.handle(), limit.handle());
    let stack = ServiceBuilder::new().layer(hedge).layer(limit).service(upstream.clone());
    // The first call runs, and the second is queued. Both are hedged at 50 ms.
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        calls.spawn(stack.clone().oneshot(1));
        settle().await;
    }
    assert_eq!((permits.in_flight(), permits.queued()), (1, 1));
    sleep(60 * MS).await;
    settle().await;
    assert_eq!((permits.in_flight(), permits.queued(), permits.spare_refused()), (1, 1, 2));
    for answer in calls.join_all().await {
        assert_eq!(answer.unwrap(), 1);
    }
    assert_eq!((hedges.sent(), hedges.refused(), hedges.won()), (2, 2, 0));
    assert_eq!((upstream.calls(), permits.rejected()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn rate_without_a_free_cell_refuses_a_hedge() {
    let upstream = script().delay(200 * MS).ok(1).service();
    let (hedge, rate) = (hedge(), ThrottleLayer::rate(Rate::per_second(1).burst(1)).queue(100));
    let (hedges, cells) = (hedge.handle(), rate.handle());
    let stack = ServiceBuilder::new().layer(hedge).layer(rate).service(upstream.clone());
    assert_eq!(stack.oneshot(1).await.unwrap(), 1);
    assert_eq!((hedges.sent(), hedges.refused(), cells.spare_refused()), (1, 1, 1));
    assert_eq!((upstream.calls(), cells.queued(), cells.rejected()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn free_permit_admits_a_hedge() {
    let upstream = script().hang().ok(2).service();
    let limit = ThrottleLayer::concurrency(2);
    let permits = limit.handle();
    let stack = ServiceBuilder::new().layer(hedge()).layer(limit).service(upstream);
    assert_eq!(stack.oneshot(1).await.unwrap(), 2);
    assert_eq!((permits.in_flight(), permits.spare_refused()), (0, 0), "the loser gave its back");
}

/// HG-14. The loser of a race is a caller who left before the deadline.
#[tokio::test(start_paused = true)]
async fn losers_are_no_failures_of_a_circuit_and_no_samples_of_a_limit() {
    let breaker = BreakerLayer::new().consecutive(5);
    let limit = ThrottleLayer::adaptive(Vegas::default());
    let (circuit, permits) = (breaker.handle(), limit.handle());
    let before = permits.limit();
    let service = service_fn(|_: u32| async {
        if !Attempt::current().is_spare() {
            std::future::pending::<()>().await;
        }
        sleep(MS).await;
        Ok::<_, BoxError>(2)
    });
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(10 * SECOND))
        .layer(hedge())
        .layer(breaker)
        .layer(limit)
        .service(service);
    for _ in 0..200 {
        assert_eq!(stack.clone().oneshot(1).await.unwrap(), 2);
    }
    assert_eq!((circuit.state(), circuit.counts().failures), (CircuitState::Closed, 0));
    assert_eq!((permits.limit(), permits.in_flight()), (before, 0));
}

/// Fails calls with an even number at once. Other calls take a second.
fn partly_down() -> (Upstream, impl Fn(u32) -> Result<u32, BoxError> + Clone) {
    let answer = |n: u32| if n.is_multiple_of(2) { Err("down".into()) } else { Ok(n) };
    let serve = move |n: u32| async move {
        if !n.is_multiple_of(2) {
            sleep(SECOND).await;
        }
        answer(n)
    };
    (script().serve(serve).service(), answer)
}

#[tokio::test(start_paused = true)]
async fn circuit_that_is_open_never_sees_a_hedge() {
    let (upstream, _) = partly_down();
    let (hedge, breaker) = (hedge(), BreakerLayer::new().consecutive(3));
    let (hedges, circuit) = (hedge.handle(), breaker.handle());
    let stack = ServiceBuilder::new().layer(hedge).layer(breaker).service(upstream.clone());
    let mut slow = JoinSet::new();
    slow.spawn(stack.clone().oneshot(1));
    settle().await;
    for _ in 0..3 {
        stack.clone().oneshot(2).await.unwrap_err();
    }
    assert_eq!(circuit.state(), CircuitState::Open);
    sleep(100 * MS).await;
    assert_eq!((hedges.sent(), hedges.refused(), circuit.spare_refused()), (1, 1, 1));
    assert_eq!(circuit.rejected(), 0);
    assert_eq!(slow.join_next().await.unwrap().unwrap().unwrap(), 1);
    assert_eq!(upstream.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn hedge_is_never_a_probe_and_never_part_of_a_ramp() {
    let (upstream, _) = partly_down();
    let (hedge, breaker) = (hedge(), BreakerLayer::new().consecutive(3));
    let breaker = breaker
        .open_for(Backoff::constant(SECOND))
        .probes(2, 2)
        .ramp(3 * SECOND, &[Ratio::percent(100)]);
    let (hedges, circuit) = (hedge.handle(), breaker.handle());
    let stack = ServiceBuilder::new().layer(hedge).layer(breaker).service(upstream.clone());
    for _ in 0..3 {
        stack.clone().oneshot(2).await.unwrap_err();
    }
    sleep(1100 * MS).await;
    // A slow call is a probe. Its hedge at 50 ms does not take the second place.
    let mut slow = JoinSet::new();
    slow.spawn(stack.clone().oneshot(1));
    sleep(100 * MS).await;
    assert_eq!((circuit.state(), circuit.spare_refused()), (CircuitState::HalfOpen, 1));
    slow.spawn(stack.clone().oneshot(1));
    sleep(100 * MS).await;
    assert_eq!((hedges.sent(), hedges.refused(), circuit.spare_refused()), (2, 2, 2));
    for answer in slow.join_all().await {
        assert_eq!(answer.unwrap(), 1);
    }
    assert_eq!(circuit.state(), CircuitState::Ramp);
    let calls = upstream.calls();
    // A call of the ramp, which admits all calls, and its hedge.
    assert_eq!(stack.clone().oneshot(1).await.unwrap(), 1);
    assert_eq!((circuit.state(), circuit.spare_refused()), (CircuitState::Ramp, 3));
    assert_eq!(upstream.calls(), calls + 1);
    // A closed circuit admits hedges.
    sleep(3 * SECOND).await;
    assert_eq!(stack.clone().oneshot(1).await.unwrap(), 1);
    assert_eq!((circuit.state(), circuit.spare_refused()), (CircuitState::Closed, 3));
    assert_eq!((hedges.sent(), hedges.refused()), (4, 3));
    assert_eq!(upstream.calls(), calls + 3);
}

#[tokio::test(start_paused = true)]
async fn refused_hedge_costs_neither_budget_anything() {
    let upstream = script().delay(200 * MS).ok(1).service();
    let (own, retries) =
        (Budget::over(SECOND, Ratio::ZERO, 5), Budget::over(SECOND, Ratio::ZERO, 5));
    let hedge = HedgeLayer::after(50 * MS).budget(own.clone()).share(retries.clone());
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(3).budget(retries.clone()))
        .layer(hedge.clone())
        .layer(ThrottleLayer::concurrency(1))
        .service(upstream);
    assert_eq!(stack.oneshot(1).await.unwrap(), 1);
    assert_eq!(hedge.handle().refused(), 1);
    assert_eq!((own.balance(), retries.balance()), (Some(5), Some(5)));
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_flight_share_its_hedge() {
    let upstream = script().hang().delay(10 * MS).ok(2).service();
    let hedge = hedge();
    let handle = hedge.handle();
    let stack = ServiceBuilder::new()
        .layer(DedupLayer::keyed(|n: &u32| Some(*n)))
        .layer(hedge)
        .service(upstream.clone());
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        calls.spawn(stack.clone().oneshot(1));
    }
    for answer in calls.join_all().await {
        assert_eq!(answer.unwrap(), 2);
    }
    assert_eq!((upstream.calls(), handle.sent(), handle.won()), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn retry_below_a_hedge_makes_its_own_attempts_in_each_try() {
    let upstream = script().answer(|_| Err("down".into())).times(1).hang().ok(3).service();
    let retry = RetryLayer::new(2).backoff(Backoff::none()).budget(Budget::unlimited());
    let stack = ServiceBuilder::new().layer(hedge()).layer(retry).service(upstream.clone());
    assert_eq!(timeout(SECOND, stack.oneshot(1)).await.unwrap().unwrap(), 3);
    let numbers: Vec<_> = upstream.received().iter().map(|call| call.attempt.number()).collect();
    assert_eq!(numbers, [1, 2, 1]);
}

/// Without a budget a slow service would see twice the calls, and three attempts of two tries each
/// six times.
#[tokio::test(start_paused = true)]
async fn default_stack_over_a_dead_service_stays_within_its_budgets() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let service = service_fn(move |_: u32| {
        count.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(300 * MS).await;
            Err::<u32, BoxError>("down".into())
        }
    });
    let retry = RetryLayer::new(3).backoff(Backoff::constant(100 * MS));
    let retry = retry.budget(Budget::new(Ratio::percent(20), 0)).seed(7);
    let hedge = HedgeLayer::after(50 * MS).share(retry.handle().budget().clone());
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(5 * SECOND))
        .layer(retry)
        .layer(hedge)
        .layer(DeadlineLayer::new(SECOND).named("attempt"))
        .service(service);
    let mut calls = JoinSet::new();
    for _ in 0..2000 {
        sleep(5 * MS).await;
        calls.spawn(stack.clone().oneshot(1));
    }
    calls.join_all().await;
    let made = made.load(Ordering::Relaxed);
    assert!((2200..=2400).contains(&made), "{made} calls of 2000");
}

#[tokio::test(start_paused = true)]
async fn whole_stack_keeps_the_contract() {
    contract(|| {
        let retry = RetryLayer::new(3);
        let hedge = HedgeLayer::learned().share(retry.handle().budget().clone());
        (
            DeadlineLayer::new(30 * SECOND),
            retry,
            hedge,
            // Stays closed, because the contract makes calls that fail.
            BreakerLayer::new().failures(Ratio::percent(101), 20).consecutive(10_000),
            ThrottleLayer::concurrency(100),
            DeadlineLayer::new(10 * SECOND).named("attempt"),
        )
    })
    .await;
}

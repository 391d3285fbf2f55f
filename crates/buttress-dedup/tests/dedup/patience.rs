//! Flights that hang: after the first caller has timed out, no new caller joins the flight.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Deadline, Reason};
use buttress_deadline::DeadlineLayer;
use buttress_dedup::{Cache, DedupLayer, DedupSnapshot};
use buttress_testkit::{Script, counts};
use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep, sleep_until},
};
use tokio_test::assert_pending;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

use crate::support::{Failure, ms, outcome, settle, taking, waiting};

type Boxed = BoxCloneService<u32, usize, Failure>;

/// A service whose first `many` calls never return. All others take 50 ms.
fn hanging(many: usize) -> (Boxed, Arc<AtomicUsize>) {
    let calls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    let service = service_fn(move |_: u32| {
        let number = counted.fetch_add(1, SeqCst) + 1;
        async move {
            if number <= many {
                std::future::pending::<()>().await;
            }
            sleep(ms(50)).await;
            Ok(number)
        }
    });
    (service.boxed_clone(), calls)
}

/// Makes a call every 100 ms for a minute, each with 1 s. Returns the number of timeouts.
async fn a_minute<S>(service: S) -> usize
where
    S: Service<u32, Response = usize, Error = Failure, Future: Send> + Clone + Send + 'static,
{
    callers(600, ms(100), service).await
}

async fn callers<S>(many: u32, every: Duration, service: S) -> usize
where
    S: Service<u32, Response = usize, Error = Failure, Future: Send> + Clone + Send + 'static,
{
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for n in 0..many {
        let service = service.clone();
        callers.spawn(async move {
            sleep_until(start + n * every).await;
            service.oneshot(1).await
        });
    }
    let outcomes = callers.join_all().await;
    let timed_out = Failure::Rejected(Reason::DeadlineExceeded);
    outcomes.iter().filter(|outcome| *outcome == &Err(timed_out.clone())).count()
}

fn second<S>(inner: S) -> impl Service<u32, Response = usize, Error = Failure, Future: Send> + Clone
where
    S: Service<u32, Response = usize, Error = Failure, Future: Send> + Clone,
{
    DeadlineLayer::new(Duration::from_secs(1)).layer(inner)
}

#[tokio::test(start_paused = true)]
async fn hanging_call_times_out_only_the_callers_of_one_timeout() {
    let (inner, calls) = hanging(1);
    let layer = DedupLayer::new();
    let timed_out = a_minute(second(layer.layer(inner))).await;
    assert_eq!(timed_out, 10);
    assert_eq!(layer.handle().in_flight(), 0);
    // Each later caller makes a call of 50 ms.
    assert_eq!(calls.load(SeqCst), 1 + 590);
}

#[tokio::test(start_paused = true)]
async fn each_hanging_call_times_out_the_callers_of_one_timeout() {
    let (inner, _) = hanging(3);
    let timed_out = a_minute(second(DedupLayer::new().layer(inner))).await;
    assert_eq!(timed_out, 30);
}

#[tokio::test(start_paused = true)]
async fn hanging_call_times_out_only_the_callers_of_one_timeout_with_a_cache() {
    let (inner, calls) = hanging(1);
    let layer = DedupLayer::new().cache(Cache::new(Duration::from_secs(1_000)));
    let timed_out = a_minute(second(layer.layer(inner))).await;
    assert_eq!(timed_out, 10);
    assert_eq!(calls.load(SeqCst), 2);
}

/// A service whose first polled handle never becomes ready.
#[derive(Clone)]
struct Unready<S>(S, Arc<AtomicUsize>, bool);
impl<S: Service<u32>> Service<u32> for Unready<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.2 = self.2 || self.1.fetch_add(1, SeqCst) == 0;
        if self.2 { Poll::Pending } else { self.0.poll_ready(cx) }
    }

    fn call(&mut self, request: u32) -> S::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn unready_service_times_out_only_the_callers_of_one_timeout() {
    let readied = Arc::<AtomicUsize>::default();
    let upstream = taking(ms(50));
    let unready = Unready(upstream.clone(), readied, false);
    let timed_out = a_minute(second(DedupLayer::new().layer(unready))).await;
    assert_eq!(timed_out, 10);
    assert_eq!(upstream.calls(), 590);
}

#[tokio::test(start_paused = true)]
async fn patient_callers_keep_their_flight_when_another_caller_times_out() {
    let layer = DedupLayer::new();
    let service = layer.layer(taking(ms(50)));
    let impatient = DeadlineLayer::new(ms(20)).layer(service.clone());
    let (patient, endless) = (DeadlineLayer::new(ms(100)).layer(service.clone()), &service);
    let (spent, before, also) = (waiting(&impatient, 1), waiting(&patient, 1), waiting(endless, 1));
    advance(ms(20)).await;
    assert_eq!(outcome(spent), Err(Failure::Rejected(Reason::DeadlineExceeded)));
    let expected = counts!(DedupSnapshot {
        calls: 3,
        leaders: 1,
        followers: 2,
        handovers: 1,
        in_flight: 1,
        waiters: 2
    });
    assert_eq!(layer.handle().snapshot(), expected);
    let (after, last) = (waiting(&patient, 1), waiting(endless, 1));
    let expected = counts!(DedupSnapshot { calls: 5, leaders: 2, followers: 3, ..expected });
    assert_eq!(layer.handle().snapshot(), expected, "only the new callers count");
    advance(ms(30)).await;
    assert_eq!(outcome(before), Ok(1));
    assert_eq!(outcome(also), Ok(1));
    // The end of the first flight did not remove the second one.
    let joins = waiting(&patient, 1);
    advance(ms(20)).await;
    assert_eq!(outcome(after), Ok(2));
    assert_eq!(outcome(last), Ok(2));
    assert_eq!(outcome(joins), Ok(2));
    let expected = counts!(DedupSnapshot { calls: 6, leaders: 2, followers: 4, handovers: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn unpolled_caller_past_its_deadline_closes_the_flight() {
    let (inner, calls) = hanging(1);
    let service = DedupLayer::new().layer(inner);
    let mut made = service.clone();
    let deadline = Some(Deadline::after(ms(100)));
    let mut held = tokio_test::task::spawn(Deadline::with(deadline, || made.call(1)));
    assert_pending!(held.poll());
    advance(ms(99)).await;
    let joins = waiting(&service, 1);
    assert_eq!(calls.load(SeqCst), 1);
    advance(ms(1)).await;
    let after = waiting(&service, 1);
    assert_eq!(calls.load(SeqCst), 2);
    drop((held, joins, after));
}

#[tokio::test(start_paused = true)]
async fn caller_that_leaves_before_its_deadline_keeps_the_flight_open() {
    let layer = DedupLayer::new();
    let upstream = taking(ms(50));
    let service = DeadlineLayer::new(ms(100)).layer(layer.layer(upstream.clone()));
    let (leader, follower, _stays) =
        (waiting(&service, 1), waiting(&service, 1), waiting(&service, 1));
    advance(ms(30)).await;
    drop((leader, follower));
    let joins = waiting(&service, 1);
    advance(ms(20)).await;
    assert_eq!(outcome(joins), Ok(1));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_that_leave_early_in_any_order_keep_the_flight_open() {
    let layer = DedupLayer::new();
    let (inner, calls) = hanging(1);
    let service = layer.layer(inner);
    let within = |millis| DeadlineLayer::new(ms(millis)).layer(service.clone());
    let [early, middle, late] =
        [10, 20, 30].map(|millis| waiting(&within(millis).boxed_clone(), 1));
    let stays = waiting(&service, 1);
    drop((early, middle));
    // The deadlines of callers that have left pass.
    advance(ms(25)).await;
    let joins = waiting(&service, 1);
    assert_eq!(calls.load(SeqCst), 1);
    drop(late);
    advance(ms(10)).await;
    let also = waiting(&service, 1);
    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(layer.handle().waiters(), 3);
    drop((stays, joins, also));
}

/// A caller comes every 5 ms with a timeout of 30 ms, and a call takes 50 ms. After 30 ms, a slow call
/// cannot be told from one that hangs. So another call starts every 30 ms: ten in 300 ms. Of the six
/// callers of each call, the last two are served, which came in its last 10 ms. Without ambient deadlines
/// there are six calls and 36 callers served, but a call that hangs blocks its key.
#[tokio::test(start_paused = true)]
async fn service_slower_than_each_timeout_is_called_once_per_timeout() {
    let upstream = taking(ms(50));
    let shared = DedupLayer::new().layer(upstream.clone());
    let timed_out = callers(60, ms(5), DeadlineLayer::new(ms(30)).layer(shared)).await;
    assert_eq!(upstream.calls(), 10);
    assert_eq!(60 - timed_out, 20);
}

#[tokio::test(start_paused = true)]
async fn impatient_caller_costs_one_additional_call() {
    let upstream = taking(ms(500));
    let shared = DedupLayer::new().layer(upstream.clone());
    let impatient = waiting(&DeadlineLayer::new(ms(30)).layer(shared.clone()), 1);
    let patient = DeadlineLayer::new(Duration::from_secs(1)).layer(shared);
    let callers = tokio::spawn(callers(60, ms(5), patient));
    assert_eq!(impatient.await, Err(Failure::Rejected(Reason::DeadlineExceeded)));
    assert_eq!(callers.await.unwrap(), 0);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn late_response_is_cached_unless_a_newer_entry_exists() {
    // Durations of the first call and of the second, which starts after 30 ms, and the cached values.
    for (first, second, at_60, at_the_end) in
        [(50, 50, Some(1), 2), (70, 10, Some(2), 2), (200, 10, Some(2), 2), (50, 200, Some(1), 2)]
    {
        let takes = [first, second].map(ms);
        let calls = AtomicUsize::new(0);
        let upstream = Script::new().serve(move |_: u32| {
            let number = calls.fetch_add(1, SeqCst);
            let takes = takes.get(number).copied();
            async move {
                sleep(takes.unwrap_or_default()).await;
                Ok::<_, Failure>(number + 1)
            }
        });
        let layer = DedupLayer::new().cache(Cache::new(Duration::from_secs(1_000)));
        let service = layer.layer(upstream.service());
        let impatient = DeadlineLayer::new(ms(30)).layer(service.clone());
        let mut calls = vec![Some(waiting(&impatient, 1)), Some(waiting(&service, 1))];
        sleep(ms(30)).await;
        settle(&mut calls);
        calls.push(Some(waiting(&service, 1)));
        let mut seen = Vec::new();
        for _ in 0..25 {
            sleep(ms(10)).await;
            settle(&mut calls);
            let look = if layer.handle().cache_entries() > 0 {
                Some(waiting_or(&service).await)
            } else {
                None
            };
            seen.push(look);
        }
        let case = format!("{first} and {second} ms: {seen:?}");
        assert_eq!(seen[2], at_60, "{case}");
        assert_eq!(seen.last().copied().flatten(), Some(at_the_end), "{case}");
        let first_new = seen.iter().position(|value| *value == Some(2)).unwrap();
        assert!(seen[first_new..].iter().all(|value| *value == Some(2)), "{case}");
    }
}

async fn waiting_or<S>(service: &S) -> usize
where
    S: Service<u32, Response = usize, Error = Failure> + Clone,
{
    service.clone().oneshot(1).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn invalidate_includes_flights_that_were_replaced() {
    for forget in [true, false] {
        let layer = DedupLayer::new().cache(Cache::new(Duration::from_secs(1_000)));
        let service = layer.layer(taking(ms(100)));
        let impatient = DeadlineLayer::new(ms(30)).layer(service.clone());
        let mut calls = vec![Some(waiting(&impatient, 1)), Some(waiting(&service, 1))];
        sleep(ms(30)).await;
        settle(&mut calls);
        calls.push(Some(waiting(&service, 1)));
        if forget {
            assert!(layer.handle().invalidate(&1_u32));
        } else {
            layer.handle().invalidate_all();
        }
        sleep(ms(200)).await;
        assert_eq!(settle(&mut calls).1, [Ok(1), Ok(2)]);
        assert_eq!(layer.handle().cache_entries(), 0);
    }
}

/// The flight does not run under such a deadline, but notices when the deadline ends a wait.
#[tokio::test(start_paused = true)]
async fn deadline_until_the_head_closes_the_flight_when_it_passes() {
    let second = Duration::from_secs(1);
    for outer in [None, Some(2 * second)] {
        let (inner, calls) = hanging(1);
        let layer = DedupLayer::new();
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(outer.unwrap_or(Deadline::NEVER)))
            .layer(DeadlineLayer::new(second).until_head())
            .layer(layer.clone())
            .service(inner);
        let timed_out = a_minute(service).await;
        assert_eq!(timed_out, 10, "{outer:?}");
        assert_eq!(layer.handle().in_flight(), 0, "{outer:?}");
        assert_eq!(calls.load(SeqCst), 1 + 590, "{outer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn caller_that_leaves_before_its_deadline_until_the_head_keeps_the_flight_open() {
    let layer = DedupLayer::new();
    let upstream = taking(ms(50));
    let service = DeadlineLayer::new(ms(30)).until_head().layer(layer.layer(upstream.clone()));
    let (leaves, stays) = (waiting(&service, 1), waiting(&layer.layer(upstream.clone()), 1));
    advance(ms(29)).await;
    drop(leaves);
    advance(ms(10)).await;
    let joins = waiting(&service, 1);
    advance(ms(11)).await;
    assert_eq!(outcome(stays), Ok(1));
    assert_eq!(outcome(joins), Ok(1));
    assert_eq!(upstream.calls(), 1);
}

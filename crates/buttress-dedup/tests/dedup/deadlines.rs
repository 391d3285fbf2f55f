//! The ambient values of a flight: the latest deadline and the highest criticality of its waiters, and
//! the attempt of its first caller.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{Attempt, Criticality, Deadline, Reason, Rejection};
use buttress_deadline::DeadlineLayer;
use buttress_dedup::{Cache, DedupLayer};
use buttress_testkit::{Script, Scripted};
use tokio::time::{Instant, advance};
use tokio_test::assert_pending;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

use crate::support::{Call, Failure, call, ms, outcome, taking, waiting};

pub(crate) type Terms = (Option<Deadline>, Criticality, Attempt);
pub(crate) type Seen = Arc<Mutex<Vec<Terms>>>;

/// A service that records the ambient values at its polls, every 10 ms until 50 ms.
pub(crate) fn watched() -> (BoxCloneService<u32, u32, io::Error>, Seen) {
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    let service = service_fn(move |n: u32| {
        let notes = Arc::clone(&notes);
        async move {
            let look = || {
                let terms = (Deadline::current(), Criticality::current(), Attempt::current());
                notes.lock().unwrap().push(terms);
            };
            look();
            for _ in 0..5 {
                tokio::time::sleep(ms(10)).await;
                look();
            }
            Ok(n)
        }
    });
    (service.boxed_clone(), seen)
}

fn under<F>(millis: u64, call: F) -> impl Future<Output = F::Output>
where
    F: Future,
{
    Deadline::after(ms(millis)).around(call)
}

/// Makes a call with a deadline, and polls the call once, which is pending.
fn within<S>(millis: u64, service: &S) -> Call<S::Response, S::Error>
where
    S: Service<u32, Future: Send, Response: fmt::Debug, Error: fmt::Debug>,
    S: Clone + Send + 'static,
{
    let call: Pin<Box<dyn Future<Output = _> + Send>> =
        Box::pin(under(millis, service.clone().oneshot(1)));
    let mut call = tokio_test::task::spawn(call);
    assert_pending!(call.poll());
    call
}

/// Returns the values of the last poll.
fn last<T: Clone>(seen: &Mutex<Vec<T>>) -> T {
    seen.lock().unwrap().last().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn flight_has_the_latest_deadline_of_its_waiters_at_each_poll() {
    let (watched, seen) = watched();
    let service = DedupLayer::new().layer(watched);
    let at = |millis| Some(Deadline::after(ms(millis)));
    let (early, middle, late) = (at(100), at(200), at(300));
    let mut first = within(200, &service);
    assert_eq!(last(&seen).0, middle);
    let mut second = tokio_test::task::spawn(under(300, service.clone().oneshot(1)));
    let mut third = tokio_test::task::spawn(under(100, service.clone().oneshot(1)));
    assert!(second.poll().is_pending() && third.poll().is_pending());
    advance(ms(10)).await;
    assert!(third.poll().is_pending(), "the values are the same for each driver");
    assert_eq!(last(&seen).0, late);
    assert_eq!(Deadline::current(), None);
    drop(second);
    advance(ms(10)).await;
    assert!(third.poll().is_pending());
    assert_eq!(last(&seen).0, middle, "callers that have left do not count");
    let mut patient = waiting(&service, 1);
    advance(ms(10)).await;
    assert!(first.poll().is_pending());
    assert_eq!(last(&seen).0, None, "no deadline is later than any");
    advance(ms(10)).await;
    assert!(patient.poll().is_pending());
    assert_eq!(last(&seen).0, None);
    drop((patient, first));
    advance(ms(10)).await;
    assert!(third.poll().is_ready());
    assert_eq!(last(&seen).0, early);
    assert_eq!(seen.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn flight_has_the_highest_criticality_of_its_waiters() {
    let (watched, seen) = watched();
    let service = DedupLayer::new().layer(watched);
    let with = |criticality: Criticality| {
        let mut call =
            tokio_test::task::spawn(Box::pin(criticality.around(service.clone().oneshot(1))));
        assert!(call.poll().is_pending());
        call
    };
    let mut least = with(Criticality::Sheddable);
    assert_eq!(last(&seen).1, Criticality::Sheddable);
    let _plus = with(Criticality::CriticalPlus);
    let _between = with(Criticality::SheddablePlus);
    advance(ms(10)).await;
    assert!(least.poll().is_pending());
    assert_eq!(last(&seen).1, Criticality::CriticalPlus);
}

#[tokio::test(start_paused = true)]
async fn flight_has_the_attempt_of_its_first_caller() {
    let (watched, seen) = watched();
    let service = DedupLayer::new().layer(watched);
    let (second, third) = (Attempt::FIRST.next(), Attempt::FIRST.next().next());
    let mut first = call(&service, 1);
    assert!(second.with(|| first.poll()).is_pending());
    let mut follower = call(&service, 1);
    assert!(third.with(|| follower.poll()).is_pending());
    advance(ms(10)).await;
    drop(first);
    assert!(third.with(|| follower.poll()).is_pending());
    assert_eq!(seen.lock().unwrap().iter().map(|terms| terms.2).collect::<Vec<_>>(), [second; 2]);
}

#[tokio::test(start_paused = true)]
async fn flight_leaves_no_ambient_values_outside() {
    let (watched, _) = watched();
    let service = DedupLayer::new().layer(watched);
    let mut patient = waiting(&service, 1);
    let own = Deadline::after(ms(30));
    Deadline::with(Some(own), || {
        let mut call = waiting(&service, 1);
        assert_eq!(Deadline::current(), Some(own));
        assert!(call.poll().is_pending());
        assert_eq!(Deadline::current(), Some(own));
    });
    assert!(patient.poll().is_pending());
    assert_eq!(Deadline::current(), None);
    assert_eq!(Criticality::current(), Criticality::default());
}

/// An upstream that responds after 50 ms with its request plus one.
fn slow() -> Scripted<u32, u32, io::Error> {
    Script::new().delay(ms(50)).answer(|n| Ok(n + 1)).service()
}

fn reason(outcome: io::Result<u32>) -> Reason {
    let error = outcome.unwrap_err();
    Rejection::find(&error).unwrap_or_else(|| panic!("not a rejection: {error}")).reason()
}

#[tokio::test(start_paused = true)]
async fn follower_times_out_alone() {
    let upstream = slow();
    let shared = DedupLayer::new().layer(upstream.clone());
    let impatient = DeadlineLayer::new(ms(20)).layer(shared.clone());
    let (leader, follower) = (waiting(&shared, 1), waiting(&impatient, 1));
    let start = Instant::now();
    assert_eq!(reason(follower.await), Reason::DeadlineExceeded);
    assert_eq!(start.elapsed(), ms(20));
    assert_eq!(upstream.live(), 1);
    assert_eq!(leader.await.unwrap(), 2);
    assert_eq!(start.elapsed(), ms(50));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn leader_times_out_alone() {
    let upstream = slow();
    let shared = DedupLayer::new().layer(upstream.clone());
    let impatient = DeadlineLayer::new(ms(20)).layer(shared.clone());
    let patient = DeadlineLayer::new(ms(100)).layer(shared);
    let (leader, follower) = (waiting(&impatient, 1), waiting(&patient, 1));
    let start = Instant::now();
    assert_eq!(reason(leader.await), Reason::DeadlineExceeded);
    assert_eq!(start.elapsed(), ms(20));
    assert_eq!(follower.await.unwrap(), 2);
    assert_eq!(start.elapsed(), ms(50));
    assert_eq!(upstream.calls(), 1);
}

/// Puts a deadline layer inside, which reads the leader's deadline when the call starts.
fn cut_inside(upstream: &Scripted<u32, u32, io::Error>) -> BoxCloneService<u32, u32, io::Error> {
    ServiceBuilder::new()
        .layer(DedupLayer::new())
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(upstream.clone())
        .boxed_clone()
}

#[tokio::test(start_paused = true)]
async fn leaders_deadline_inside_the_flight_ends_only_the_leader() {
    let upstream = slow();
    let service = cut_inside(&upstream);
    let start = Instant::now();
    let leader = within(20, &service);
    let follower = within(100, &service);
    assert_eq!(reason(leader.await), Reason::DeadlineExceeded);
    assert_eq!(start.elapsed(), ms(20));
    assert_eq!(follower.await.unwrap(), 2, "the follower restarts with its own deadline");
    assert_eq!(start.elapsed(), ms(70));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn leaders_deadline_inside_the_flight_ends_no_follower_when_the_leader_left() {
    let upstream = slow();
    let service = cut_inside(&upstream);
    let start = Instant::now();
    let leader = within(20, &service);
    let follower = within(100, &service);
    // A deadline layer outside drops the leader at the same instant.
    advance(ms(20)).await;
    drop(leader);
    assert_eq!(follower.await.unwrap(), 2);
    assert_eq!(start.elapsed(), ms(70));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn leaders_deadline_inside_the_flight_is_not_shared_with_shared_errors() {
    let upstream = slow();
    let again = |error: &io::Error| Some(io::Error::from(error.kind()));
    let layer = DedupLayer::new().share_errors_with(again);
    let service = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(upstream.clone());
    let leader = within(20, &service);
    let equal = within(20, &service);
    let follower = within(100, &service);
    assert_eq!(follower.await.unwrap(), 2);
    assert_eq!(reason(leader.await), Reason::DeadlineExceeded);
    assert_eq!(equal.await.unwrap_err().kind(), io::ErrorKind::TimedOut, "no time is left");
    assert_eq!(upstream.calls(), 2);
    assert_eq!(layer.handle().leaders(), 2);
}

#[tokio::test(start_paused = true)]
async fn leaders_deadline_inside_the_flight_is_not_shared_through_a_custom_error() {
    let upstream = taking(ms(50));
    let layer = DedupLayer::new().share_errors();
    let service = ServiceBuilder::new()
        .layer(layer.clone())
        .map_err(|error: Failure| match error {
            // Any error that is not a rejection.
            Failure::Rejected(_) => Failure::Down(0),
            down @ Failure::Down(_) => down,
        })
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(upstream.clone());
    let leader = within(20, &service);
    let equal = within(20, &service);
    let follower = within(100, &service);
    assert_eq!(follower.await, Ok(2));
    assert_eq!(leader.await, Err(Failure::Down(0)));
    assert_eq!(equal.await, Err(Failure::Down(0)));
    assert_eq!(upstream.calls(), 2);
    assert_eq!(layer.handle().leaders(), 2);
}

#[tokio::test(start_paused = true)]
async fn leaders_deadline_inside_the_flight_is_not_shared_through_another_dedup() {
    let upstream = taking(ms(50));
    let layer = DedupLayer::new().share_errors();
    let service = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(DedupLayer::new().share_errors().cache(Cache::new(Duration::ZERO)))
        .map_err(|_: Failure| Failure::Down(0))
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .service(upstream.clone());
    let leader = within(20, &service);
    let follower = within(100, &service);
    assert_eq!(follower.await, Ok(2));
    assert_eq!(leader.await, Err(Failure::Down(0)));
    assert_eq!(upstream.calls(), 2);
    assert_eq!(layer.handle().leaders(), 2);
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_is_shared_by_all_waiters() {
    let upstream = taking(ms(50));
    let layer = DedupLayer::new().share_errors();
    let service = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(DeadlineLayer::new(ms(10)))
        .service(upstream.clone());
    let leader = within(20, &service);
    let follower = within(100, &service);
    let timed_out = || Err(Failure::Rejected(Reason::DeadlineExceeded));
    assert_eq!(follower.await, timed_out());
    assert_eq!(leader.await, timed_out());
    assert_eq!(upstream.calls(), 1);
    assert_eq!(layer.handle().leaders(), 1);
}

#[tokio::test(start_paused = true)]
async fn follower_past_its_deadline_makes_no_call_of_its_own() {
    let upstream = slow();
    let service = cut_inside(&upstream);
    let mut leader = tokio_test::task::spawn(under(20, service.clone().oneshot(1)));
    let mut follower = tokio_test::task::spawn(under(20, service.clone().oneshot(1)));
    assert!(leader.poll().is_pending() && follower.poll().is_pending());
    assert_eq!(reason(leader.await), Reason::DeadlineExceeded);
    assert_eq!(reason(follower.await), Reason::DeadlineExceeded);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_is_shared_through_the_users_function() {
    // The timeout is shorter than the leader's deadline, so it applies to all callers.
    let upstream = slow();
    let share = |error: &io::Error| Some(io::Error::from(error.kind()));
    let service = ServiceBuilder::new()
        .layer(DedupLayer::new().share_errors_with(share))
        .layer(DeadlineLayer::new(ms(10)))
        .service(upstream.clone());
    let leader = within(20, &service);
    let follower = waiting(&service, 1);
    advance(ms(11)).await;
    assert_eq!(reason(leader.await), Reason::DeadlineExceeded);
    assert_eq!(outcome(follower).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(upstream.calls(), 1);
}

//! The ambient deadline of a call that waits.

use std::sync::{Arc, Mutex};

use buttress_core::{
    Bind, BoxError, Criticality, Deadline, Guard, NoTimeLeft, Propagate, Reason, Rejection,
    Respond, Signals,
};
use buttress_deadline::DeadlineLayer;
use buttress_order::{OrderLayer, OrderSnapshot};
use buttress_testkit::counts;
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_service::Service;

use crate::support::{
    Act::{Answered, Began},
    Worker, job, key_of, ms, reason, rejection,
};

#[tokio::test(start_paused = true)]
async fn waiter_leaves_at_its_deadline() {
    let layer = OrderLayer::serial(key_of).named("writes");
    let mut service = layer.layer(Worker::new());
    let running = service.call(job(1, 0, 100));
    let start = Instant::now();
    let deadline = Deadline::after(ms(20));
    let outcome = deadline.around(service.clone().oneshot(job(1, 1, 0))).await;
    assert!(start.elapsed() >= ms(20) && start.elapsed() < ms(25));
    let rejection = rejection(outcome);
    assert_eq!(rejection.reason(), Reason::DeadlineExceeded);
    assert_eq!(rejection.deadline(), Some(deadline));
    assert_eq!(rejection.origin().to_string(), "order `writes`");
    let expected = counts!(OrderSnapshot { calls: 2, rejected: 1, expired: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
    assert_eq!(running.await.unwrap(), 0);
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiter_that_leaves_at_its_deadline_raises_the_signal() {
    let mut service = OrderLayer::serial(key_of).layer(Worker::new());
    let _running = service.call(job(1, 0, 100));
    let deadline = Deadline::after(ms(20));
    let mut waiting = task::spawn(Deadline::with(Some(deadline), || service.call(job(1, 1, 0))));
    assert_pending!(waiting.poll());
    sleep(ms(21)).await;
    let (outcome, signals) = Signals::watch(|| waiting.poll());
    assert_eq!(reason(assert_ready!(outcome)), Reason::DeadlineExceeded);
    assert_eq!(signals.deadline, Some(deadline));
}

#[tokio::test(start_paused = true)]
async fn turn_that_comes_at_the_deadline_is_used() {
    let mut service = OrderLayer::serial(key_of).layer(Worker::new());
    let running = service.call(job(1, 0, 100));
    let deadline = Deadline::after(ms(20));
    let mut waiting = task::spawn(Deadline::with(Some(deadline), || service.call(job(1, 1, 0))));
    assert_pending!(waiting.poll());
    sleep(ms(30)).await;
    drop(running);
    assert_eq!(assert_ready!(waiting.poll()).unwrap(), 1);
}

/// OR-07: the time of the wait and the time of an attempt are limited apart.
#[tokio::test(start_paused = true)]
async fn timeout_inside_counts_from_the_turn_and_timeout_outside_from_the_call() {
    let worker = Worker::new();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(ms(100)).named("call"))
        .layer(OrderLayer::serial(key_of))
        .layer(DeadlineLayer::new(ms(50)).named("attempt"))
        .service(worker.clone());
    let start = Instant::now();
    let call = |number, millis| {
        let call = service.clone().oneshot(job(1, number, millis));
        async move { (call.await, start.elapsed().as_millis()) }
    };
    let (first, second, third, fourth) = tokio::join!(
        call(1, 40),
        call(2, 1000),
        call(3, 30),
        Deadline::after(ms(95)).around(call(4, 0))
    );
    assert_eq!((first.0.unwrap(), first.1), (1, 40));
    // The attempt began at 40 ms.
    assert_eq!(
        (rejection(second.0).origin().to_string(), second.1),
        ("deadline `attempt`".into(), 90)
    );
    // The whole call began at 0, and so did the wait of the last.
    assert_eq!((reason(third.0), third.1), (Reason::DeadlineExceeded, 100));
    assert_eq!((rejection(fourth.0).origin().to_string(), fourth.1), ("order".into(), 95));
    assert_eq!(worker.acts()[..3], [Began(1, 0), Answered(1, 40), Began(2, 40)]);
}

/// With latest-wins an expired call would end work that can still be served.
#[tokio::test(start_paused = true)]
async fn call_whose_deadline_has_passed_neither_waits_nor_supersedes() {
    for serial in [true, false] {
        let worker = Worker::new();
        let (serials, latests) = (OrderLayer::serial(key_of), OrderLayer::latest(key_of));
        let mut service = if serial {
            serials.layer(worker.clone()).boxed_clone()
        } else {
            latests.layer(worker.clone()).boxed_clone()
        };
        let running = service.call(job(1, 0, 10));
        let expired = Deadline::after(ms(0));
        let outcome = expired.around(service.clone().oneshot(job(1, 1, 0))).await;
        assert_eq!(reason(outcome), Reason::DeadlineExceeded);
        assert_eq!(running.await.unwrap(), 0);
        let expired = if serial { serials.handle().expired() } else { latests.handle().expired() };
        assert_eq!(expired, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_waited_begins_under_the_ambient_values_of_its_call() {
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let note = Arc::clone(&seen);
    let mut service = OrderLayer::serial(|_: &u32| Some(())).layer(service_fn(move |_: u32| {
        note.lock().unwrap().push((Deadline::whole(), Criticality::current()));
        async { Ok::<_, BoxError>(()) }
    }));
    let running = service.call(0);
    let deadline = Deadline::after(ms(20));
    let waiting =
        Deadline::with(Some(deadline), || Criticality::Sheddable.with(|| service.call(1)));
    drop(running);
    waiting.await.unwrap();
    assert_eq!(seen.lock().unwrap()[1], (Some(deadline), Criticality::Sheddable));
}

/// A mode whose requests carry a deadline.
#[derive(Clone, Copy, Debug)]
struct Announcing;

impl<Res> Respond<Option<Deadline>, Res, BoxError> for Announcing {
    type Seed = ();
    type Response<G: Guard> = Res;

    fn seed(&self, _: &Option<Deadline>) {}

    fn admit<G: Guard>(&self, (): (), response: Res, _: Option<G>) -> Res {
        response
    }

    fn reject<G: Guard>(&self, (): (), why: Rejection) -> Result<Res, BoxError> {
        Err(why.into())
    }
}

impl Propagate<Option<Deadline>> for Announcing {
    fn deadline(&self, request: &Option<Deadline>) -> Option<Deadline> {
        *request
    }

    fn set_deadline(
        &self,
        request: &mut Option<Deadline>,
        deadline: Deadline,
    ) -> Result<(), NoTimeLeft> {
        // Announced with a margin of 10 ms.
        if deadline.remaining() < ms(10) {
            return Err(NoTimeLeft);
        }
        *request = Some(deadline);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn announced_deadline_is_written_anew_after_the_wait_or_rejects_the_call() {
    let layer = OrderLayer::serial(|_: &Option<Deadline>| Some(())).bind(Announcing);
    let mut service = layer.layer(service_fn(|request: Option<Deadline>| async move {
        sleep(ms(20)).await;
        Ok::<_, BoxError>(request)
    }));
    let (long, short) = (Deadline::after(ms(100)), Deadline::after(ms(25)));
    let (first, second) = (service.call(None), service.call(Some(short)));
    let third = service.call(Some(long));
    let (first, second, third) = tokio::join!(first, second, third);
    assert_eq!(first.unwrap(), None);
    let second = rejection(second);
    assert_eq!((second.reason(), second.deadline()), (Reason::DeadlineExceeded, Some(short)));
    assert_eq!(third.unwrap(), Some(long));
    assert_eq!(layer.handle().expired(), 1);
    assert_eq!(layer.handle().keys(), 0);
}

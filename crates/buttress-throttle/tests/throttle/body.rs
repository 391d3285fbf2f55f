//! What a response holds that outlives its head.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_core::{
    Bind, BoxError, Classify, Criticality, Deadline, Guard, NoTimeLeft, Propagate, Reason,
    Rejection, Respond, Verdict,
};
use buttress_throttle::{Adapt, Rate, Sample, ThrottleLayer};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_service::Service;

use crate::support::reason;

/// A mode whose responses have a body, and keep a guard until that is dropped.
#[derive(Clone, Copy, Debug)]
struct Streaming;

#[derive(Debug)]
struct Stream<B, G> {
    body: B,
    guard: Option<G>,
}

impl<B: Future + Unpin, G: Guard> Stream<B, G> {
    fn poll(&mut self) -> Poll<B::Output> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut poll = || Pin::new(&mut self.body).poll(&mut cx);
        match &self.guard {
            Some(guard) => guard.within(poll),
            None => poll(),
        }
    }
}

impl<Req, B> Respond<Req, B, BoxError> for Streaming {
    type Seed = ();
    type Response<G: Guard> = Stream<B, G>;

    fn seed(&self, _: &Req) {}

    fn admit<G: Guard>(&self, (): (), body: B, guard: Option<G>) -> Stream<B, G> {
        Stream { body, guard }
    }

    fn reject<G: Guard>(&self, (): (), why: Rejection) -> Result<Stream<B, G>, BoxError> {
        Err(why.into())
    }
}

impl<Req, B> Classify<Req, B, BoxError> for Streaming {
    type Seed = ();

    fn seed(&self, _: &Req) {}

    fn classify(&self, (): &(), outcome: Result<&B, &BoxError>) -> Verdict {
        outcome.map_or(Verdict::Transient, |_| Verdict::Success)
    }
}

/// A request is how critical its caller says it is.
impl Propagate<Option<Criticality>> for Streaming {
    fn deadline(&self, _: &Option<Criticality>) -> Option<Deadline> {
        None
    }

    fn set_deadline(&self, _: &mut Option<Criticality>, _: Deadline) -> Result<(), NoTimeLeft> {
        Ok(())
    }

    fn criticality(&self, asked: &Option<Criticality>) -> Option<Criticality> {
        *asked
    }

    fn set_criticality(&self, asked: &mut Option<Criticality>, criticality: Criticality) {
        *asked = Some(criticality);
    }
}

/// Answers at once, with a body that says how critical its poll is.
async fn work(_: Option<Criticality>) -> Result<Body, BoxError> {
    Ok(std::future::poll_fn(|_| Poll::Ready(Criticality::current())))
}

type Body = std::future::PollFn<fn(&mut Context<'_>) -> Poll<Criticality>>;

#[tokio::test(start_paused = true)]
async fn permit_is_held_until_the_body_ends_or_until_the_head() {
    let layer = ThrottleLayer::concurrency(1).bind(Streaming);
    let service = layer.layer(service_fn(work));
    let body = service.clone().oneshot(None).await.unwrap();
    assert_eq!(layer.handle().in_flight(), 1);
    assert_eq!(reason(service.clone().oneshot(None).await), Reason::Overloaded);
    drop(body);
    assert_eq!(layer.handle().in_flight(), 0);
    let layer = layer.until_head();
    let _body = layer.layer(service_fn(work)).oneshot(None).await.unwrap();
    assert_eq!(layer.handle().in_flight(), 0);
}

/// A law that allows for one call more with each that ends.
#[derive(Clone, Debug)]
struct Growing(u32);

impl Adapt for Growing {
    fn limit(&self) -> u32 {
        self.0
    }

    fn learn(&mut self, _: Sample) -> u32 {
        self.0 += 1;
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn limit_raised_at_the_head_admits_waiters_during_the_body() {
    let layer = ThrottleLayer::adaptive(Growing(1)).queue(1).bind(Streaming);
    let success = |_: Result<&Body, &BoxError>| Verdict::Success;
    let service = layer.classify(success).layer(service_fn(work));
    let first = service.clone().call(None);
    let mut waiting = task::spawn(service.clone().oneshot(None));
    assert_pending!(waiting.poll());
    let _body = first.await.unwrap();
    assert!(waiting.is_woken());
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn criticality_is_ambient_for_the_body_without_a_permit_too() {
    let limit = ThrottleLayer::concurrency(1).bind(Streaming);
    let none =
        ThrottleLayer::concurrency(1).keyed(|_: &Option<Criticality>| None::<u32>).bind(Streaming);
    let rate = ThrottleLayer::rate(Rate::per_second(1)).bind(Streaming);
    let seen = [
        criticality_in_body(limit.layer(service_fn(work))).await,
        criticality_in_body(limit.until_head().layer(service_fn(work))).await,
        criticality_in_body(none.layer(service_fn(work))).await,
        criticality_in_body(rate.layer(service_fn(work))).await,
    ];
    assert_eq!(seen, [Criticality::Sheddable; 4]);
}

async fn criticality_in_body<S, G: Guard>(service: S) -> Criticality
where
    S: Service<Option<Criticality>, Response = Stream<Body, G>, Error = BoxError>,
{
    let mut stream = Criticality::Sheddable.around(service.oneshot(None)).await.unwrap();
    match stream.poll() {
        Poll::Ready(criticality) => criticality,
        Poll::Pending => panic!("it is always ready"),
    }
}

#[tokio::test(start_paused = true)]
async fn criticality_is_ambient_for_the_call_and_written_to_the_request() {
    let seen = |asked: Option<Criticality>| {
        let ambient = Criticality::current();
        async move { Ok::<_, BoxError>((asked, ambient)) }
    };
    let service = ThrottleLayer::concurrency(9).bind(Streaming).layer(service_fn(seen));
    let sheddable = Criticality::Sheddable;
    let told = service.clone().oneshot(Some(sheddable)).await.unwrap();
    assert_eq!(told.body, (Some(sheddable), sheddable));
    let around = sheddable.around(service.clone().oneshot(None)).await.unwrap();
    assert_eq!(around.body, (Some(sheddable), sheddable));
    // The mode gets the default too: a header of an untrusted client may have to be overwritten.
    let told = service.oneshot(None).await.unwrap();
    assert_eq!(told.body, (Some(Criticality::Critical), Criticality::Critical));
}

//! What a response holds that outlives its head.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_core::{
    Bind, BoxError, Carry, Criticality, Deadline, Guard, Reason, Rejection, Respond,
};
use buttress_throttle::{Rate, ThrottleLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::common::reason;

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

impl<Req> Carry<Req> for Streaming {
    fn read(&self, _: &Req) -> Option<Deadline> {
        None
    }

    fn write(&self, _: &mut Req, _: Deadline) {}
}

/// Answers at once, with a body that says how critical its poll is.
async fn work(_: u32) -> Result<Body, BoxError> {
    Ok(std::future::poll_fn(|_| Poll::Ready(Criticality::current())))
}

type Body = std::future::PollFn<fn(&mut Context<'_>) -> Poll<Criticality>>;

#[tokio::test(start_paused = true)]
async fn a_permit_is_held_until_the_body_has_ended_or_until_the_head_if_told_so() {
    let layer = ThrottleLayer::concurrency(1).bind(Streaming);
    let service = layer.layer(service_fn(work));
    let body = service.clone().oneshot(1).await.unwrap();
    assert_eq!(layer.handle().in_flight(), 1);
    assert_eq!(reason(service.clone().oneshot(1).await), Reason::Overloaded);
    drop(body);
    assert_eq!(layer.handle().in_flight(), 0);
    let layer = layer.until_head();
    let _body = layer.layer(service_fn(work)).oneshot(1).await.unwrap();
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_criticality_is_ambient_for_the_body_whatever_the_limit_holds() {
    let limit = ThrottleLayer::concurrency(1).bind(Streaming);
    let none = ThrottleLayer::concurrency(1).keyed(|_: &u32| None::<u32>).bind(Streaming);
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
    S: tower_service::Service<u32, Response = Stream<Body, G>, Error = BoxError>,
{
    let mut stream = Criticality::Sheddable.around(service.oneshot(1)).await.unwrap();
    match stream.poll() {
        Poll::Ready(criticality) => criticality,
        Poll::Pending => panic!("it is always ready"),
    }
}

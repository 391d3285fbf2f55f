//! What a response holds that outlives its head.

use std::task::{Context, Poll};

use buttress_core::{
    Bind, BoxError, Deadline, Guard, NoTimeLeft, Plain, Propagate, Reason, Rejection, Respond,
};
use buttress_order::{OrderGuard, OrderLayer, OrderSnapshot};
use buttress_testkit::counts;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, service_fn};
use tower_service::Service;

use crate::support::reason;

/// A mode whose responses have a body of numbers, under a guard.
#[derive(Clone, Copy, Debug)]
struct Streaming;

/// Asks its guard as the bodies of HTTP do.
#[derive(Debug)]
struct Stream<G> {
    body: Option<UnboundedReceiver<u32>>,
    guard: Option<G>,
}

impl<G: Guard> Stream<G> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<u32, Rejection>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let (stop, item) = match body.poll_recv(cx) {
            Poll::Ready(Some(item)) => {
                (self.guard.as_mut().map(|guard| guard.poll_stop(cx)), Some(item))
            }
            Poll::Ready(None) => {
                (self.body, self.guard) = (None, None);
                return Poll::Ready(None);
            }
            Poll::Pending => (self.guard.as_mut().map(|guard| guard.poll_cut(cx)), None),
        };
        match (stop, item) {
            (Some(Poll::Ready(why)), _) => {
                (self.body, self.guard) = (None, None);
                Poll::Ready(Some(Err(why)))
            }
            (_, Some(item)) => Poll::Ready(Some(Ok(item))),
            _ => Poll::Pending,
        }
    }

    fn next(&mut self) -> task::Spawn<impl Future<Output = Option<Result<u32, Rejection>>>> {
        task::spawn(std::future::poll_fn(|cx| self.poll_next(cx)))
    }
}

type Request = (u32, UnboundedReceiver<u32>);

impl Respond<Request, UnboundedReceiver<u32>, BoxError> for Streaming {
    type Seed = ();
    type Response<G: Guard> = Stream<G>;

    fn seed(&self, _: &Request) {}

    fn admit<G: Guard>(&self, (): (), body: UnboundedReceiver<u32>, guard: Option<G>) -> Stream<G> {
        Stream { body: Some(body), guard }
    }

    fn reject<G: Guard>(&self, (): (), why: Rejection) -> Result<Stream<G>, BoxError> {
        Err(why.into())
    }
}

impl Propagate<Request> for Streaming {
    fn deadline(&self, _: &Request) -> Option<Deadline> {
        None
    }

    fn set_deadline(&self, _: &mut Request, _: Deadline) -> Result<(), NoTimeLeft> {
        Ok(())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a key")]
fn key_of(request: &Request) -> Option<u32> {
    Some(request.0)
}

fn upstream()
-> impl Service<Request, Response = UnboundedReceiver<u32>, Error = BoxError, Future: Send> + Clone
{
    service_fn(|(_, body): Request| async move { Ok::<_, BoxError>(body) })
}

fn request(key: u32) -> (UnboundedSender<u32>, Request) {
    let (sender, body) = unbounded_channel();
    (sender, (key, body))
}

#[tokio::test(start_paused = true)]
async fn serial_turn_is_held_until_the_body_ends_or_is_dropped() {
    let layer = OrderLayer::serial(key_of).bind(Streaming);
    let mut service = layer.layer(upstream());
    for dropped in [false, true] {
        let (sender, first) = request(1);
        let mut stream = service.call(first).await.unwrap();
        let (_other, second) = request(1);
        let mut waiting = task::spawn(service.call(second));
        assert_pending!(waiting.poll());
        sender.send(7).unwrap();
        assert_eq!(assert_ready!(stream.next().poll()).unwrap().unwrap(), 7);
        assert_pending!(waiting.poll());
        if dropped {
            drop(stream);
        } else {
            drop(sender);
            assert!(assert_ready!(stream.next().poll()).is_none());
        }
        assert!(waiting.is_woken());
        drop(waiting.await.unwrap());
        assert_eq!(layer.handle().keys(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn turn_ends_at_the_head_if_asked() {
    let layer = OrderLayer::serial(key_of).bind(Streaming).until_head();
    let mut service = layer.layer(upstream());
    let (_sender, first) = request(1);
    let stream: Stream<OrderGuard> = service.call(first).await.unwrap();
    assert!(stream.guard.is_none());
    assert_eq!(layer.handle().keys(), 0);
    let (_other, second) = request(1);
    assert_ready!(task::spawn(service.call(second)).poll()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn head_of_a_latest_wins_call_cannot_be_superseded_after_until_head() {
    let layer = OrderLayer::latest(key_of).until_head().bind(Streaming);
    let mut service = layer.layer(upstream());
    let (sender, first) = request(1);
    let mut stream = service.call(first).await.unwrap();
    let (_other, second) = request(1);
    let _newest = service.call(second).await.unwrap();
    sender.send(7).unwrap();
    assert_eq!(assert_ready!(stream.next().poll()).unwrap().unwrap(), 7);
}

/// O4: whatever is buffered.
#[tokio::test(start_paused = true)]
async fn superseded_response_delivers_no_frame_that_is_buffered() {
    let layer = OrderLayer::latest(key_of).bind(Streaming);
    let mut service = layer.layer(upstream());
    let (sender, first) = request(1);
    let mut stream = service.call(first).await.unwrap();
    for number in [1, 2, 3] {
        sender.send(number).unwrap();
    }
    assert_eq!(assert_ready!(stream.next().poll()).unwrap().unwrap(), 1);
    let (_other, second) = request(1);
    let mut newest = task::spawn(service.call(second));
    assert_pending!(newest.poll());
    let why = assert_ready!(stream.next().poll()).unwrap().unwrap_err();
    assert_eq!(why.reason(), Reason::Superseded);
    assert!(assert_ready!(stream.next().poll()).is_none());
    assert!(sender.is_closed(), "the body is dropped");
    assert!(newest.is_woken(), "the newest begins when the older body is gone");
    drop(newest.await.unwrap());
    let expected = counts!(OrderSnapshot { calls: 2, rejected: 1, superseded: 1 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn pending_body_is_woken_and_cut_when_a_later_call_comes() {
    let layer = OrderLayer::latest(key_of).bind(Streaming);
    let mut service = layer.layer(upstream());
    let (_sender, first) = request(1);
    let mut stream = service.call(first).await.unwrap();
    let mut next = stream.next();
    assert_pending!(next.poll());
    let (_other, second) = request(1);
    let mut newest = task::spawn(service.call(second));
    assert!(next.is_woken());
    assert_pending!(newest.poll());
    let why = assert_ready!(next.poll()).unwrap().unwrap_err();
    assert_eq!(why.reason(), Reason::Superseded);
    assert!(newest.is_woken());
}

#[tokio::test(start_paused = true)]
async fn body_that_has_ended_before_is_not_superseded() {
    let layer = OrderLayer::latest(key_of).bind(Streaming);
    let mut service = layer.layer(upstream());
    let (sender, first) = request(1);
    let mut stream = service.call(first).await.unwrap();
    drop(sender);
    assert!(assert_ready!(stream.next().poll()).is_none());
    let (_other, second) = request(1);
    assert_ready!(task::spawn(service.call(second)).poll()).unwrap();
    assert_eq!(layer.handle().superseded(), 0);
}

/// With overlapping calls, the body of the older response is cut while the newer one is read.
#[tokio::test(start_paused = true)]
async fn body_of_an_overlapping_call_is_cut_by_the_newest() {
    let layer = OrderLayer::latest(key_of).overlapping().bind(Streaming);
    let mut service = layer.layer(upstream());
    let ((older, first), (newer, second)) = (request(1), request(1));
    let mut old = service.call(first).await.unwrap();
    older.send(1).unwrap();
    let mut new = service.call(second).await.unwrap();
    newer.send(2).unwrap();
    assert_eq!(assert_ready!(new.next().poll()).unwrap().unwrap(), 2);
    let why = assert_ready!(old.next().poll()).unwrap().unwrap_err();
    assert_eq!(why.reason(), Reason::Superseded);
    newer.send(3).unwrap();
    assert_eq!(assert_ready!(new.next().poll()).unwrap().unwrap(), 3);
    drop((old, new));
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn plain_mode_ends_the_turn_with_the_outcome() {
    let layer = OrderLayer::serial(key_of).bind(Streaming).bind(Plain);
    let mut service = layer.layer(upstream());
    let (_sender, first) = request(1);
    let _body: UnboundedReceiver<u32> = service.call(first).await.unwrap();
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn head_that_comes_too_late_delivers_no_body() {
    let layer = OrderLayer::latest(key_of).bind(Streaming);
    let mut service = layer.layer(upstream());
    let (sender, first) = request(1);
    sender.send(1).unwrap();
    let first = service.call(first);
    let (_other, second) = request(1);
    let newest = service.call(second);
    assert_eq!(reason(first.await.map(drop)), Reason::Superseded);
    newest.await.unwrap();
}

//! Callers that leave, and a service that takes its time, both by the same chance in each run.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress::BoxError;
use buttress_testkit::Frames;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, StreamBody};
use loopback::AnyBody;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_stream::Stream;
use tower::{Service, ServiceExt};

pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) type Call = Request<Empty<Bytes>>;

/// Random numbers that are the same in each run.
#[derive(Clone)]
pub(crate) struct Dice(Arc<AtomicU64>);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed << 32)))
    }

    /// A number below `sides`.
    pub(crate) fn roll(&self, sides: u32) -> u32 {
        // SplitMix64.
        let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed >> 33) % u64::from(sides)).unwrap()
    }
}

/// The head comes after a while, fails or hangs, and the body comes in three frames.
pub(crate) async fn serve(dice: Dice) -> Result<Response<AnyBody>, BoxError> {
    let (head, luck) = (dice.roll(40), dice.roll(20));
    let frames = (0..3).fold(Frames::new(), |frames, _| {
        let chunk = Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"chunk")));
        frames.delay(dice.roll(15) * MS).frame(chunk)
    });
    sleep(head * MS).await;
    if luck == 0 {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(StreamBody::new(Chunks(frames)).boxed_unsync());
    if luck < 7 {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

struct Chunks(Frames<Result<Frame<Bytes>, BoxError>>);

impl Stream for Chunks {
    type Item = Result<Frame<Bytes>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}

/// Where a caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    InHead,
    InBody,
    AtTheEnd,
}

/// Makes a call and reads its body, until the future is dropped.
async fn call_and_read<S, B>(service: S, call: Call, place: Arc<AtomicU64>)
where
    S: Service<Call, Response = Response<B>>,
    B: Body + Unpin,
{
    let Ok(response) = service.oneshot(call).await else {
        place.store(2, Ordering::Relaxed);
        return;
    };
    place.store(1, Ordering::Relaxed);
    let mut body = response.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    place.store(2, Ordering::Relaxed);
}

/// Polls `future` at most `polls` times.
async fn polled_at_most(polls: u32, future: impl Future<Output = ()>) {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(cx)
    })
    .await;
}

/// Drops 1,000 calls at random awaits, in head and body, among others that run to their end.
pub(crate) async fn drop_calls<S, B>(stack: S, dice: &Dice) -> u64
where
    S: Service<Call, Response = Response<B>, Future: Send> + Clone + Send + 'static,
    S::Error: Send,
    B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    let (mut in_head, mut in_body, mut calls) = (0, 0, 0);
    let mut running = JoinSet::new();
    while in_head + in_body < 1000 || !running.is_empty() {
        if in_head + in_body < 1000 && running.len() < 24 {
            let method = if dice.roll(5) == 0 { Method::POST } else { Method::GET };
            let path = format!("/{}", dice.roll(9));
            let call = Request::builder().method(method).uri(path).body(Empty::new()).unwrap();
            let (stack, luck, place) = (stack.clone(), dice.clone(), Arc::new(AtomicU64::new(0)));
            calls += 1;
            running.spawn(async move {
                let call = call_and_read(stack, call, Arc::clone(&place));
                match luck.roll(8) {
                    0 => call.await,
                    1..4 => polled_at_most(luck.roll(12), call).await,
                    _ => drop(timeout(luck.roll(90) * MS, call).await),
                }
                match place.load(Ordering::Relaxed) {
                    0 => Left::InHead,
                    1 => Left::InBody,
                    _ => Left::AtTheEnd,
                }
            });
            sleep(dice.roll(6) * MS).await;
        } else if let Some(left) = running.join_next().await {
            in_head += u64::from(left.as_ref().is_ok_and(|left| *left == Left::InHead));
            in_body += u64::from(left.unwrap() == Left::InBody);
        }
    }
    assert!(in_head > 100 && in_body > 100, "{in_head} in the head, {in_body} in the body");
    calls
}

//! Calls that their callers drop at random points, in the head and in the body.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress::{BoxError, HttpExt, MeterLayer, RetryLayer, observability::CallEnd};
use buttress_testkit::Frames;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use tokio::time::{sleep, timeout};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// The position in a sequence that is the same in each run (`SplitMix64`).
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

struct Chunks(Frames<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_next(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The head takes 0 to 20 ms, and the body as long again. One call in four fails.
async fn answer(draw: u64) -> Result<Response<Chunks>, BoxError> {
    sleep(ms(draw % 20)).await;
    let chunk = || Bytes::from_static(b"chunk");
    let body = Frames::new().frame(chunk()).delay(ms(draw % 20)).frame(chunk());
    let mut response = Response::new(Chunks(body));
    if draw.is_multiple_of(4) {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

/// 1,000 calls, most of which are dropped at a random await: begun is the sum of all ends.
#[tokio::test(start_paused = true)]
async fn dropped_calls_and_bodies_leave_nothing_in_flight() {
    let (call, attempt) = (MeterLayer::call(()).http(), MeterLayer::attempt(()).http());
    let handles = [call.handle(), attempt.handle()];
    let stack = ServiceBuilder::new().layer(call).layer(RetryLayer::new(3).http()).layer(attempt);
    let service = stack.service(service_fn(async |request: Request<Empty<Bytes>>| {
        answer(*request.extensions().get::<u64>().unwrap()).await
    }));
    let mut draws = Draws(7);
    for _ in 0..1000 {
        let mut request = Request::new(Empty::new());
        request.extensions_mut().insert(draws.below(1000));
        let patience = ms(draws.below(60));
        let whole = async {
            let response = service.clone().oneshot(request).await.unwrap();
            drop(response.into_body().collect().await);
        };
        drop(timeout(patience, whole).await);
    }
    for handle in handles {
        let snapshot = handle.snapshot();
        assert_eq!(snapshot.in_flight, 0);
        let ended: u64 = CallEnd::ALL.iter().map(|end| snapshot.ended(*end)).sum();
        assert_eq!((snapshot.begun, ended), (1000, 1000), "{snapshot:?}");
        for end in [CallEnd::Success, CallEnd::Permanent, CallEnd::Dropped] {
            assert!(snapshot.ended(end) > 50, "{snapshot:?}");
        }
    }
}

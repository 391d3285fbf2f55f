//! Bodies with pauses, on tokio's clock.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, ByteBudget, Reader, Share};
use buttress_http::{Http, SharedBody};
use buttress_testkit::Frames;
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tokio_test::task::spawn;

type Shared = <Http as Share<Response<Scripted>>>::Shared;

#[tokio::test(start_paused = true)]
async fn all_tasks_read_at_the_pace_of_the_body() {
    let shared = share(paced());
    let start = Instant::now();
    let (one, two, three) = tokio::join!(
        times(reader(&shared, Reader::Leader)),
        times(reader(&shared, Reader::Follower)),
        async {
            sleep(ms(15)).await;
            times(reader(&shared, Reader::Follower)).await
        },
    );
    let at = |frame, after| (frame, start + ms(after));
    let expected = [at("one", 0), at("two", 10), at("three", 20)];
    assert_eq!(one, expected);
    assert_eq!(two, expected);
    assert_eq!(three, [at("one", 15), at("two", 15), at("three", 20)]);
}

#[tokio::test(start_paused = true)]
async fn driver_that_stops_midway_delays_no_other() {
    let shared = share(paced());
    let start = Instant::now();
    let mut driver = reader(&shared, Reader::Leader);
    let mut unpolled = reader(&shared, Reader::Follower);
    tokio::join!(
        async {
            // Polls until the second frame is awaited, and is then dropped.
            let _ = tokio::time::timeout(ms(5), async { while driver.frame().await.is_some() {} })
                .await;
            drop(driver);
        },
        async {
            // The same, and is then kept.
            let _ =
                tokio::time::timeout(ms(6), async { while unpolled.frame().await.is_some() {} })
                    .await;
        },
        async {
            let times = times(reader(&shared, Reader::Follower)).await;
            assert_eq!(times.last(), Some(&("three", start + ms(20))));
        },
    );
    assert_eq!(times(unpolled).await, [("two", start + ms(20)), ("three", start + ms(20))]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_that_are_not_polled_delay_one_that_is_by_ten_ms_in_all() {
    for (before, after) in [(1_000, 0), (500, 500), (1, 1), (0, 1_000)] {
        let paced = (0..50).fold(Frames::new(), |frames, _| frames.delay(ms(20)).frame("one"));
        let (shared, start) = (share(paced), Instant::now());
        let held = || {
            let mut held = spawn(reader(&shared, Reader::Follower));
            assert!(held.enter(|cx, body| body.poll_frame(cx)).is_pending());
            held
        };
        let mut idle: Vec<_> = (0..before).map(|_| held()).collect();
        let join = async {
            // After the other has been polled.
            idle.extend((0..after).map(|_| held()));
        };
        let (read, ()) = tokio::join!(times(reader(&shared, Reader::Follower)), join);
        assert_eq!(read.len(), 50);
        assert!(start.elapsed() <= ms(50 * 20 + 10), "{before}, {after}: {:?}", start.elapsed());
        for mut held in idle {
            assert!(held.is_woken());
            let polled = held.enter(|cx, body| body.poll_frame(cx));
            assert!(matches!(polled, Poll::Ready(Some(Ok(_)))), "each gets all, at once");
            assert_eq!(times(held.into_inner()).await.len(), 49);
        }
    }
}

/// What is read, and when.
async fn times(mut body: SharedBody<Scripted>) -> Vec<(&'static str, Instant)> {
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame.unwrap().into_data().unwrap();
        let known = ["one", "two", "three"].into_iter().find(|known| data == known.as_bytes());
        read.push((known.unwrap(), Instant::now()));
    }
    read
}

fn paced() -> Frames<&'static str> {
    Frames::new().frame("one").delay(ms(10)).frame("two").delay(ms(10)).frame("three")
}

fn share(frames: Frames<&'static str>) -> Shared {
    let allowance = Arc::new(ByteBudget::new(usize::MAX));
    Http::new().share(Response::new(Scripted(frames)), &allowance).unwrap()
}

fn reader(shared: &Shared, reader: Reader) -> SharedBody<Scripted> {
    Share::<Response<Scripted>>::restore(&Http::new(), shared, reader).into_body()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[derive(Debug)]
struct Scripted(Frames<&'static str>);

impl Body for Scripted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        self.0.poll_next(cx).map(|next| next.map(frame))
    }
}

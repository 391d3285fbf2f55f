//! Callers on many threads.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use buttress_core::{ByteBudget, Progress, Reader};
use buttress_http::{Http, SharedBody, TooLong};
use http_body_util::BodyExt;
use tokio::runtime::Builder;

use crate::{
    callers::{progress, restore, share, share_by},
    source::{Fed, Feed},
};

#[test]
fn callers_on_many_threads_read_the_same() {
    for round in 0..200 {
        let feed = Feed::new();
        let shared = share(&feed);
        std::thread::scope(|scope| {
            let reading = (0..6).map(|caller| {
                let body = restore(&shared, Reader::Follower).into_body();
                // Half of them stop somewhere.
                let most = if caller < 3 { usize::MAX } else { round % FRAMES };
                scope.spawn(move || block_on(read_frames(body, most)))
            });
            let reading: Vec<_> = reading.collect();
            for _ in 0..FRAMES {
                feed.text("frame");
            }
            feed.end();
            let read: Vec<_> = reading.into_iter().map(|reading| reading.join().unwrap()).collect();
            let some = round % FRAMES;
            assert_eq!(read, [FRAMES, FRAMES, FRAMES, some, some, some]);
        });
        assert_eq!(progress(&shared), Progress::Complete);
    }
}

/// Whether a thread falls too far behind is a matter of how busy the machine is.
#[test]
fn callers_on_many_threads_read_a_body_over_the_cap_or_are_told_that_they_fell_behind() {
    for round in 0..200 {
        let feed = Feed::new();
        let http = Http::new().max_shared_body(5 * (round % 4));
        let shared = share_by(&http, &feed, &Arc::new(ByteBudget::new(usize::MAX)));
        std::thread::scope(|scope| {
            let reading = (0..6).map(|caller| {
                let mut body = restore(&shared, Reader::Follower).into_body();
                // Half of them stop somewhere.
                let most = if caller < 3 { usize::MAX } else { round % FRAMES };
                let read = async move {
                    let mut read = 0;
                    while read < most {
                        match body.frame().await {
                            None => return Some(read),
                            Some(Ok(_)) => read += 1,
                            Some(Err(error)) if error.is::<TooLong>() => return None,
                            Some(Err(error)) => panic!("{error}"),
                        }
                    }
                    Some(read)
                };
                let runtime = Builder::new_current_thread().enable_time().build().unwrap();
                scope.spawn(move || runtime.block_on(read))
            });
            let reading: Vec<_> = reading.collect();
            for _ in 0..FRAMES {
                feed.text("frame");
            }
            feed.end();
            for (caller, reading) in reading.into_iter().enumerate() {
                let most = if caller < 3 { FRAMES } else { round % FRAMES };
                assert!(reading.join().unwrap().is_none_or(|read| read == most));
            }
        });
        assert!(feed.is_dropped());
    }
}

#[test]
fn callers_on_many_threads_have_each_frame_before_there_is_another() {
    for _ in 0..50 {
        let feed = Feed::new();
        let shared = share(&feed);
        let read = &AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                let mut body = restore(&shared, Reader::Follower).into_body();
                scope.spawn(move || {
                    block_on(async {
                        while body.frame().await.is_some() {
                            read.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                });
            }
            for fed in 1..=FRAMES {
                feed.text("frame");
                let all_have_it = || read.load(Ordering::Relaxed) == fed * CALLERS;
                let mut looks = std::iter::repeat_with(std::thread::yield_now).take(PATIENCE);
                // The end releases all callers, so that the test fails and does not hang.
                if !looks.any(|()| all_have_it()) {
                    feed.end();
                    panic!("somebody waits for a frame that is there");
                }
            }
            feed.end();
        });
    }
}

/// Reads `most` frames, or all.
async fn read_frames(mut body: SharedBody<Fed>, most: usize) -> usize {
    let mut read = 0;
    while read < most && body.frame().await.is_some() {
        read += 1;
    }
    read
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().unwrap().block_on(future)
}

const FRAMES: usize = 40;
const CALLERS: usize = 4;

/// How often to check whether all callers have read on: for some seconds.
const PATIENCE: usize = 20_000_000;

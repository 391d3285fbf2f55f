//! The memory of a shared body.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, ByteBudget, Reader, Share};
use buttress_http::{Http, SharedBody};
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use proptest::{collection::vec, prelude::*, sample::Index};
use tokio::time::advance;
use tokio_test::task::{Spawn, spawn};

use crate::callers::paused;

proptest! {
    #[test]
    fn no_more_is_held_than_the_cap_and_one_frame(
        sizes in vec(512_usize..2048, 0..60),
        turns in vec((any::<Index>(), 0_u8..10), 0..400),
        readers in 1_usize..6,
        cap in 0_usize..6000,
    ) {
        paused().block_on(async {
            let held = Arc::new(AtomicUsize::new(0));
            let largest = sizes.iter().copied().max().unwrap_or(0);
            let body = Counted { sizes: sizes.into(), held: Arc::clone(&held) };
            let http = Http::new().max_shared_body(cap);
            let shared = http.share(Response::new(body), &Arc::new(ByteBudget::new(1 << 20))).unwrap();
            let restore = |_| Share::<Response<Counted>>::restore(&http, &shared, Reader::Follower);
            let mut bodies: Vec<_> = (0..readers).map(restore).collect();
            let mut bodies: Vec<_> = bodies.drain(..).map(|body| spawn(body.into_body())).collect();
            for (who, what) in turns {
                match what {
                    0 if bodies.len() > 1 => drop(bodies.swap_remove(who.index(bodies.len()))),
                    1 => advance(Duration::from_millis(3)).await,
                    _ => read(who.get_mut(&mut bodies)),
                }
                prop_assert!(held.load(Ordering::Relaxed) <= cap + largest);
            }
            drop((bodies, shared));
            prop_assert_eq!(held.load(Ordering::Relaxed), 0);
            Ok(())
        })?;
    }
}

fn read(body: &mut Spawn<SharedBody<Counted>>) {
    let _ = body.enter(|cx, body| body.poll_frame(cx));
}

/// A body that is always ready, with frames of these sizes. It counts the bytes of it that are `held`.
#[derive(Debug)]
struct Counted {
    sizes: VecDeque<usize>,
    held: Arc<AtomicUsize>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(size) = self.sizes.pop_front() else { return Poll::Ready(None) };
        self.held.fetch_add(size, Ordering::Relaxed);
        let data = Chunk { data: vec![0; size], held: Arc::clone(&self.held) };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(data)))))
    }
}

struct Chunk {
    data: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.held.fetch_sub(self.data.len(), Ordering::Relaxed);
    }
}

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use crate::{AnyBody, nothing};

/// Counted calls that complete when the test allows them to.
#[derive(Clone, Debug)]
pub struct Work {
    calls: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
}

impl Default for Work {
    fn default() -> Self {
        let (calls, running) = (Arc::default(), Arc::default());
        Self { calls, running, permits: Arc::new(Semaphore::new(0)) }
    }
}

impl Work {
    /// Begins a call and waits for a permit. Returns the number of the call, from 1.
    pub async fn call(&self) -> usize {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running::new(&self.running);
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
        call
    }

    /// Allows `calls` running or future calls to complete.
    pub fn allow(&self, calls: usize) {
        self.permits.add_permits(calls);
    }

    /// Returns the number of calls that have begun.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Returns the number of calls that wait for a permit. Dropped calls do not count.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Creates a `GET` request for `path`.
///
/// # Panics
/// If `path` is invalid.
#[expect(clippy::expect_used, reason = "fixtures of tests may panic")]
pub fn get_of(address: SocketAddr, path: &str) -> Request<AnyBody> {
    let request = Request::get(format!("http://{address}/{path}"));
    request.body(nothing()).expect("a path")
}

/// Reads the whole body of a response.
///
/// # Panics
/// If the body fails.
#[expect(clippy::expect_used, reason = "fixtures of tests may panic")]
pub async fn read<B>(response: Response<B>) -> Bytes
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    response.into_body().collect().await.expect("a whole body").to_bytes()
}

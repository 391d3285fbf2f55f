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

/// Calls that go on when the test gives leave, and are counted.
#[derive(Clone, Debug)]
pub struct Work {
    calls: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    leave: Arc<Semaphore>,
}

impl Default for Work {
    fn default() -> Self {
        let (calls, running) = (Arc::default(), Arc::default());
        Self { calls, running, leave: Arc::new(Semaphore::new(0)) }
    }
}

impl Work {
    /// Begins a call, waits for leave, and says which call it is, from 1.
    pub async fn call(&self) -> usize {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running::new(&self.running);
        if let Ok(leave) = self.leave.acquire().await {
            leave.forget();
        }
        call
    }

    /// Gives leave to `calls` of those that run and those to come.
    pub fn allow(&self, calls: usize) {
        self.leave.add_permits(calls);
    }

    /// Calls that have begun.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Calls that wait for leave. One that was dropped does not.
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

/// A request for what lies at `path`.
///
/// # Panics
/// When it is no path.
#[expect(clippy::expect_used, reason = "helpers of tests fail like tests")]
pub fn get_of(address: SocketAddr, path: &str) -> Request<AnyBody> {
    let request = Request::get(format!("http://{address}/{path}"));
    request.body(nothing()).expect("a path")
}

/// The whole body of a response.
///
/// # Panics
/// When it fails.
#[expect(clippy::expect_used, reason = "helpers of tests fail like tests")]
pub async fn read<B>(response: Response<B>) -> Bytes
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    response.into_body().collect().await.expect("a whole body").to_bytes()
}

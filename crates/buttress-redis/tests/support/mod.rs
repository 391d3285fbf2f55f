//! A real server for tests, and a network between the server and the client.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that fails fails its test")]

pub(crate) mod liar;
pub(crate) mod proxy;
pub(crate) mod server;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(crate) use liar::Liar;
pub(crate) use proxy::Proxy;
pub(crate) use server::Server;

/// Waits until `holds`, for at most 60 s. A busy machine only takes longer.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENT;
    while !holds().await {
        assert!(Instant::now() < end, "not within 60 s: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Long enough for a busy machine.
pub(crate) const PATIENT: Duration = Duration::from_secs(60);

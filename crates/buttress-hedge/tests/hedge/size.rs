//! The size of the future of a call.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use buttress_core::BoxError;
use buttress_hedge::{Budget, HedgeLayer};
use tower::{Layer, Service};

use crate::support::SECOND;

/// A service of four bytes.
#[derive(Clone)]
struct Small(u32);

impl Service<u32> for Small {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request + self.0))
    }
}

#[tokio::test(start_paused = true)]
async fn future_is_at_most_112_bytes_larger_than_that_of_the_service() {
    let bare = size_of_val(&Small(1).call(1));
    for layer in [HedgeLayer::after(SECOND), HedgeLayer::learned().share(Budget::default())] {
        let hedged = size_of_val(&layer.layer(Small(1)).call(1));
        assert!(hedged <= bare + 112, "{} bytes", hedged - bare);
    }
}

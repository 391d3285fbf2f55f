//! The size of a call.

use std::{
    future::Ready,
    task::{Context, Poll},
};

use buttress_breaker::{Breaker, BreakerLayer};
use buttress_core::BoxError;
use tower::{Layer, Service};

#[derive(Clone)]
struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        std::future::ready(Ok(request))
    }
}

#[test]
fn future_is_at_most_56_bytes_larger_than_that_of_the_service() {
    let bare = size_of::<<Echo as Service<u64>>::Future>();
    let wrapped = size_of::<<Breaker<Echo> as Service<u64>>::Future>();
    assert!(wrapped - bare <= 56, "{wrapped} - {bare}");
    let _: Breaker<Echo> = BreakerLayer::new().layer(Echo);
}

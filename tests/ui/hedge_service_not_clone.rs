//! A service that cannot be cloned, so that there is none for the hedge.

use std::{
    future::Ready,
    task::{Context, Poll},
};

use buttress::{BoxError, Check, hedge::HedgeLayer};
use tower::{Service, ServiceBuilder};

struct Counting(u32);

impl Service<u32> for Counting {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        self.0 += 1;
        std::future::ready(Ok(self.0))
    }
}

fn main() {
    ServiceBuilder::new().layer(HedgeLayer::learned()).service(Counting(0)).check::<u32>();
}

//! A service that is not `Clone`.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use buttress::{BoxError, BreakerLayer, Check};
use tower::{Service, ServiceBuilder};

struct Database;

impl Service<u32> for Database {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, row: u32) -> Self::Future {
        ready(Ok(row))
    }
}

fn main() {
    ServiceBuilder::new().layer(BreakerLayer::new()).service(Database).check::<u32>();
}

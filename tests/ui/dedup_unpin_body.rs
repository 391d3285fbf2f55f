//! A body that must be pinned.

use std::{
    marker::PhantomPinned,
    pin::Pin,
    task::{Context, Poll},
};

use buttress::{BoxError, Check, DedupLayer, HttpExt};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{ServiceBuilder, service_fn};

struct Pinned(PhantomPinned);

impl Body for Pinned {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }
}

fn main() {
    let load = service_fn(|_: Request<String>| async {
        Ok::<_, BoxError>(Response::new(Pinned(PhantomPinned)))
    });
    ServiceBuilder::new()
        .layer(DedupLayer::new().http())
        .service(load)
        .check::<Request<String>>();
}

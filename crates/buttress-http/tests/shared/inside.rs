//! A body that reads itself.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use buttress_core::{Allowance, BoxError, Reader, Share};
use buttress_http::Http;
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use tokio_test::{assert_ready, task::spawn};

type Shared = <Http as Share<Response<Itself>>>::Shared;

#[test]
fn a_body_that_waits_for_itself_fails() {
    let itself = Arc::new(OnceLock::new());
    let response = Response::new(Itself(Arc::clone(&itself)));
    let shared = Http::new().share(response, &Arc::new(Allowance::new(100))).unwrap();
    itself.set(shared.clone()).unwrap();
    let mut reader = spawn(restore(&shared));
    let polled = assert_ready!(reader.enter(|cx, body| body.poll_frame(cx)));
    assert!(polled.unwrap().is_err());
}

fn restore(shared: &Shared) -> impl Body<Data = Bytes, Error = BoxError> + Unpin + use<> {
    Share::<Response<Itself>>::restore(&Http::new(), shared, Reader::Later).into_body()
}

#[derive(Debug)]
struct Itself(Arc<OnceLock<Shared>>);

impl Body for Itself {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut itself = restore(self.0.get().unwrap());
        Pin::new(&mut itself).poll_frame(cx)
    }
}

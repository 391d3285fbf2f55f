//! A body that reads itself.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use buttress_core::{BoxError, ByteBudget, Reader, Share};
use buttress_http::Http;
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use tokio_test::{assert_ready, task::spawn};

#[test]
fn a_body_that_waits_for_itself_fails() {
    let itself = Arc::new(OnceLock::new());
    let response = Response::new(Itself(Arc::clone(&itself)));
    let shared = Http::new().share(response, &Arc::new(ByteBudget::new(100))).unwrap();
    let read = move || {
        Share::<Response<Itself>>::restore(&Http::new(), &shared, Reader::Follower).into_body()
    };
    let mut reader = spawn(read());
    assert!(itself.set(Box::new(move |cx| Pin::new(&mut read()).poll_frame(cx))).is_ok());
    let polled = assert_ready!(reader.enter(|cx, body| body.poll_frame(cx)));
    assert!(polled.unwrap().is_err());
}

/// Its type cannot name what it reads, which would be a type that contains itself.
struct Itself(Arc<OnceLock<Read>>);

type Read = Box<dyn Fn(&mut Context<'_>) -> Polled + Send + Sync>;
type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl fmt::Debug for Itself {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Itself").finish_non_exhaustive()
    }
}

impl Body for Itself {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        self.0.get().unwrap()(cx)
    }
}

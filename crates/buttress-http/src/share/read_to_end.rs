use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{BoxError, Progress, Reader};
use bytes::Bytes;
use http_body::Body;

use super::{SharedBody, response::SharedResponse};

/// Reads a response to its end for later callers only.
#[derive(Debug)]
pub struct ReadToEnd<B> {
    shared: SharedResponse<B>,
    body: SharedBody<B>,
}

impl<B> ReadToEnd<B> {
    pub(crate) fn of(shared: &SharedResponse<B>) -> Self {
        Self { shared: shared.clone(), body: shared.restore(Reader::Follower).into_body() }
    }
}

impl<B> Future for ReadToEnd<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A body that turns out to be too long may have no end, and would not be cached.
        while self.shared.progress() == Progress::Streaming {
            if !matches!(ready!(Pin::new(&mut self.body).poll_frame(cx)), Some(Ok(_))) {
                break;
            }
        }
        Poll::Ready(())
    }
}

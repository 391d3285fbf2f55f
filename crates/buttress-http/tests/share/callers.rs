//! A shared response, and a caller that reads it.

use std::{fmt::Debug, sync::Arc, task::Poll};

use buttress_core::{BoxError, ByteBudget, Progress, Reader, Share};
use buttress_http::{Http, SharedBody, TooLong};
use http::{HeaderMap, Response};
use http_body::{Body, SizeHint};
use tokio::runtime::{Builder, Runtime};
use tokio_test::task::{Spawn, spawn};

use crate::source::{Fed, Feed};

pub(crate) type Shared = <Http as Share<Response<Fed>>>::Shared;

/// A response with the body of `feed`, shared with the defaults.
pub(crate) fn share(feed: &Feed) -> Shared {
    share_by(&Http::new(), feed, &Arc::new(ByteBudget::new(usize::MAX)))
}

pub(crate) fn share_by(http: &Http, feed: &Feed, allowance: &Arc<ByteBudget>) -> Shared {
    http.share(Response::new(feed.body()), allowance).unwrap()
}

/// A response of which ten bytes are held.
pub(crate) fn short() -> (Feed, Shared) {
    let feed = Feed::new();
    let shared = share_by(&capped(), &feed, &Arc::new(ByteBudget::new(usize::MAX)));
    (feed, shared)
}

pub(crate) fn capped() -> Http {
    Http::new().max_shared_body(10)
}

pub(crate) fn progress(shared: &Shared) -> Progress {
    Share::<Response<Fed>>::progress(&Http::new(), shared)
}

pub(crate) fn expect(shared: &Shared, callers: usize) {
    Share::<Response<Fed>>::expect_callers(&Http::new(), shared, callers);
}

pub(crate) fn abandon(shared: &Shared) {
    Share::<Response<Fed>>::abandon(&Http::new(), shared);
}

pub(crate) fn keep(shared: &Shared) -> Shared {
    Share::<Response<Fed>>::for_cache(&Http::new(), shared)
}

pub(crate) fn restore(shared: &Shared, reader: Reader) -> Response<SharedBody<Fed>> {
    Share::<Response<Fed>>::restore(&Http::new(), shared, reader)
}

/// One caller's body, in a task of its own.
#[derive(Debug)]
pub(crate) struct Caller(Spawn<SharedBody<Fed>>);

/// What a caller reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Nothing,
    Text(String),
    Trailers(HeaderMap),
    End,
    TooLong,
    Failed,
}

impl Caller {
    pub(crate) fn first(shared: &Shared) -> Self {
        Self(spawn(restore(shared, Reader::Leader).into_body()))
    }

    pub(crate) fn later(shared: &Shared) -> Self {
        Self(spawn(restore(shared, Reader::Follower).into_body()))
    }

    /// Polls once.
    pub(crate) fn read(&mut self) -> Got {
        match self.try_read() {
            Ok(got) => got,
            Err(error) if error.is::<TooLong>() => Got::TooLong,
            Err(_) => Got::Failed,
        }
    }

    pub(crate) fn try_read(&mut self) -> Result<Got, BoxError> {
        let frame = match self.0.enter(|cx, body| body.poll_frame(cx)) {
            Poll::Pending => return Ok(Got::Nothing),
            Poll::Ready(None) => return Ok(Got::End),
            Poll::Ready(Some(frame)) => frame?,
        };
        Ok(match frame.into_data() {
            Ok(data) => Got::Text(String::from_utf8(data.to_vec())?),
            Err(frame) => Got::Trailers(frame.into_trailers().unwrap()),
        })
    }

    /// Polls until there is nothing, or nothing more.
    pub(crate) fn read_on(&mut self) -> (String, Got) {
        let mut read = String::new();
        loop {
            match self.read() {
                Got::Text(text) => read.push_str(&text),
                got => return (read, got),
            }
        }
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.0.is_woken()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

pub(crate) fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

/// The frames that a caller has read, up to the next wait or the end.
pub(crate) fn read(read: &str, then: Got) -> (String, Got) {
    (read.to_owned(), then)
}

/// A runtime whose time passes only where the test says so.
pub(crate) fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

pub(crate) fn error_of<T: Debug>(outcome: Result<T, BoxError>) -> BoxError {
    outcome.unwrap_err()
}

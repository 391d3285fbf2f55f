//! Fixtures of the tests of the layer.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Reason, Rejection};
use tokio::time::sleep;
use tower::Service;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Returns the time left of the ambient deadline, after `delay` milliseconds.
pub(crate) async fn answer(delay: u64) -> Result<Option<Duration>, BoxError> {
    let left = Deadline::current().map(Deadline::remaining);
    sleep(MS * u32::try_from(delay).unwrap()).await;
    Ok(left)
}

pub(crate) fn rejected(error: &BoxError) -> &Rejection {
    let rejection = Rejection::find(error).expect("a rejection");
    assert_eq!(rejection.reason(), Reason::DeadlineExceeded);
    rejection
}

pub(crate) async fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx))).await
}

pub(crate) async fn poll_ready_once<S: Service<u64>>(
    service: &mut S,
) -> Poll<Result<(), S::Error>> {
    poll_fn(|cx| Poll::Ready(service.poll_ready(cx))).await
}

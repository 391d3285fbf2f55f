use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_state::FlightStore;
use tokio::runtime::Handle;

use super::{
    lease::FlightLease,
    remote::{Remote, runtime},
};
use crate::Fetched;

/// A read of the fleet's store, which never fails a call.
///
/// The read runs in the runtime of its first poll, also if later polls come from elsewhere. Without a runtime that has
/// a time driver, the store counts as away.
pub struct SharedFetch<V, F: FlightStore> {
    remote: Arc<Remote<F>>,
    runtime: Option<Handle>,
    conversation: Conversation<V, F>,
}

type Conversation<V, F> = Pin<Box<dyn Future<Output = Fetched<V, FlightLease<F>>> + Send>>;

impl<V, F: FlightStore> SharedFetch<V, F> {
    pub(super) fn new(
        remote: Arc<Remote<F>>,
        conversation: impl Future<Output = Fetched<V, FlightLease<F>>> + Send + 'static,
    ) -> Self {
        Self { remote, runtime: None, conversation: Box::pin(conversation) }
    }
}

impl<V, F: FlightStore> Future for SharedFetch<V, F> {
    type Output = Fetched<V, FlightLease<F>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.runtime.is_none() {
            this.runtime = runtime();
        }
        let polled = this.runtime.as_ref().and_then(|runtime| {
            let _entered = runtime.enter();
            // tokio's timers panic once the runtime shuts down, and a store is code of the user.
            catch_unwind(AssertUnwindSafe(|| this.conversation.as_mut().poll(cx))).ok()
        });
        polled.unwrap_or_else(|| {
            this.remote.counts.alone.add();
            Poll::Ready(Fetched::Alone)
        })
    }
}

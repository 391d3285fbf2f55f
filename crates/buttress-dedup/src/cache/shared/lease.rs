use std::{sync::Arc, time::Duration};

use buttress_state::{Ending, Finished, FlightStore, Token};
use tokio::{runtime::Handle, time::Instant};

use super::{place::Place, remote::Remote};

/// The lock of a slot in the fleet's store, which this process holds while it makes the call.
///
/// Dropped, the lease gives the lock back in a task of its own, in the runtime in which the lock was
/// taken. If that runtime has shut down, the lock ends with its time to live.
pub struct FlightLease<F: FlightStore> {
    remote: Arc<Remote<F>>,
    place: Arc<Place>,
    token: Token,
    ending: Ending,
    runtime: Option<Handle>,
}

impl<F: FlightStore> FlightLease<F> {
    /// A lock that was taken in the current runtime.
    pub(super) fn new(remote: Arc<Remote<F>>, place: Arc<Place>, token: Token) -> Self {
        let runtime = Handle::try_current().ok();
        Self { remote, place, token, ending: Ending::Abandon, runtime }
    }

    /// The stamp of the value that this lease stores.
    pub(super) const fn stamp(&self) -> [u8; 16] {
        self.token.owner
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Ends the work in the background.
    pub(super) fn finish(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl<F: FlightStore> Drop for FlightLease<F> {
    fn drop(&mut self) {
        let Some(runtime) = &self.runtime else { return };
        let (remote, place) = (Arc::clone(&self.remote), Arc::clone(&self.place));
        let ending = std::mem::replace(&mut self.ending, Ending::Abandon);
        runtime.spawn(finish(remote, place, self.token, aging(ending)));
    }
}

async fn finish<F: FlightStore>(
    remote: Arc<Remote<F>>,
    place: Arc<Place>,
    token: Token,
    ending: impl FnOnce() -> Ending + Send,
) {
    let ending = ending();
    let is_value = matches!(ending, Ending::Value { .. });
    // An error is counted, and the caller has its response.
    let finished = remote.finish(place.slot(), &token, ending).await;
    if is_value && matches!(finished, Ok(Finished::Superseded)) {
        remote.counts.superseded.add();
        let instance = &*remote.instance;
        tracing::debug!(name: "dedup.superseded", target: "buttress", instance);
    }
}

/// The ending at the time of its sending. A value lives from now on, and not from its arrival.
fn aging(ending: Ending) -> impl FnOnce() -> Ending + Send {
    let now = Instant::now();
    move || match ending {
        Ending::Value { bytes, ttl, .. } => match ttl.saturating_sub(now.elapsed()) {
            Duration::ZERO => Ending::Abandon,
            left => Ending::value(bytes, left),
        },
        ending => ending,
    }
}

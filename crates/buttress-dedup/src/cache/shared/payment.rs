//! The tasks that tell the fleet's store of invalidations.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use buttress_state::FlightStore;
use tokio::time::sleep;

use super::{
    owed::Group,
    remote::{Remote, runtime},
};

impl<F: FlightStore> Remote<F> {
    /// Invalidates a group, or all groups for `None`, in the background.
    ///
    /// If that fails, or if there is no runtime, a later task does so: one starts with a failure, and
    /// one with the next read.
    pub(super) fn owe(self: &Arc<Self>, group: Group) {
        let runtime = runtime();
        let number = self.owed.add(&group, runtime.is_none());
        if let Some(runtime) = runtime {
            // Made before the task: if the runtime has shut down, its drop marks the debt as failed.
            let attempt = Attempt::new(self, group, number);
            runtime.spawn(async move {
                let remote = Arc::clone(&attempt.remote);
                attempt.make().await;
                remote.pay_in_background();
            });
        }
    }

    /// Starts the task that sends failed invalidations again, unless it runs or there are none.
    pub(super) fn pay_in_background(self: &Arc<Self>) {
        if self.owed.has_failed()
            && let Some(runtime) = runtime()
            && self.owed.begin_retries()
        {
            runtime.spawn(Retry { remote: Arc::downgrade(self), is_over: false }.run());
        }
    }
}

/// A single attempt. Dropped, the attempt has ended.
struct Attempt<F: FlightStore> {
    remote: Arc<Remote<F>>,
    group: Group,
    number: u64,
    is_paid: bool,
}

impl<F: FlightStore> Attempt<F> {
    fn new(remote: &Arc<Remote<F>>, group: Group, number: u64) -> Self {
        Self { remote: Arc::clone(remote), group, number, is_paid: false }
    }

    async fn make(mut self) -> bool {
        self.is_paid = self.remote.invalidate(self.group.as_deref()).await.is_ok();
        self.is_paid
    }
}

impl<F: FlightStore> Drop for Attempt<F> {
    fn drop(&mut self) {
        self.remote.owed.attempted(&self.group, self.number, self.is_paid);
    }
}

/// The task that sends failed invalidations again, one at a time. Ends when all are confirmed, or
/// with the layer.
struct Retry<F> {
    remote: Weak<Remote<F>>,
    is_over: bool,
}

impl<F: FlightStore> Retry<F> {
    async fn run(mut self) {
        while let Some(remote) = self.remote.upgrade() {
            let Some((group, number)) = remote.owed.next_retry() else {
                self.is_over = true;
                return;
            };
            let is_paid = Attempt::new(&remote, group, number).make().await;
            drop(remote);
            if !is_paid {
                sleep(PAUSE).await;
            }
        }
    }
}

impl<F> Drop for Retry<F> {
    fn drop(&mut self) {
        // The runtime has shut down: the next read in another one starts a task again.
        if let Some(remote) = self.remote.upgrade().filter(|_| !self.is_over) {
            remote.owed.abandon_retries();
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);

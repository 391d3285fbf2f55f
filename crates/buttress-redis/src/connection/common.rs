use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{counters::Counters, hints::Hints, tasks::Tasks};

/// What all connections of a store share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) counters: Counters,
    pub(super) hints: Arc<Hints>,
    pub(super) tasks: Tasks,
    /// A connection was established.
    pub(super) connected: Notify,
    /// The first dial has ended, with a connection or without.
    has_dialled: AtomicBool,
    dialled: Notify,
    longest_limit: AtomicU64,
}

impl Common {
    pub(super) fn new(channels: Vec<String>) -> Self {
        Self {
            counters: Counters::default(),
            hints: Arc::new(Hints::new(channels)),
            tasks: Tasks::new(),
            connected: Notify::new(),
            has_dialled: AtomicBool::new(false),
            dialled: Notify::new(),
            longest_limit: AtomicU64::new(0),
        }
    }

    /// Notes that a dial has ended.
    pub(super) fn dialled(&self) {
        // Release: an operation that sees the flag sees the connection.
        self.has_dialled.store(true, Release);
        self.dialled.notify_waiters();
    }

    /// Waits for the end of the first dial. Ready at once after that.
    pub(super) async fn first_dial(&self) {
        let mut dialled = pin!(self.dialled.notified());
        // Before the look, so that an end in between is not missed.
        dialled.as_mut().enable();
        if !self.has_dialled() {
            dialled.await;
        }
    }

    #[inline]
    pub(super) fn has_dialled(&self) -> bool {
        self.has_dialled.load(Acquire)
    }

    /// Notes the time limit of operations, which says how far the store is away.
    pub(super) fn expect_limit(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.longest_limit.fetch_max(millis, Relaxed);
    }

    /// The longest time limit of an operation.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_millis(self.longest_limit.load(Relaxed))
    }

    /// The time for a connection with its handshake: up to ten round trips.
    pub(super) fn dial_limit(&self) -> Duration {
        self.limit().saturating_mul(10).clamp(SHORTEST_DIAL, LONGEST_DIAL)
    }
}

const SHORTEST_DIAL: Duration = Duration::from_millis(250);
const LONGEST_DIAL: Duration = Duration::from_secs(10);

use std::sync::Mutex;

use buttress_state::{StoreError, sync::lock};
use tokio::time::Instant;

/// Whether the fleet's store is away, and since when. Emits an event for each change.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<Away>>);

#[derive(Clone, Copy, Debug)]
struct Away {
    since: Instant,
    last_failure: Instant,
}

impl Outage {
    /// An operation failed.
    pub(super) fn failed(&self, instance: &str, error: &StoreError) {
        let now = Instant::now();
        let is_first = {
            let mut away = lock(&self.0);
            let since = away.map(|away| away.since);
            *away = Some(Away { since: since.unwrap_or(now), last_failure: now });
            since.is_none()
        };
        // After the lock, because a subscriber is code of the user.
        if is_first {
            let kind = error.kind().as_str();
            tracing::warn!(name: "dedup.store_lost", target: "buttress", instance, error = kind);
        }
    }

    /// An operation that `began` at this time succeeded.
    pub(super) fn succeeded(&self, instance: &str, began: Instant) {
        let since = {
            let mut away = lock(&self.0);
            // Operations that overlap may fail and succeed by turns. That is a single outage.
            away.take_if(|away| began >= away.last_failure).map(|away| away.since)
        };
        if let Some(since) = since {
            let away = since.elapsed();
            tracing::info!(name: "dedup.store_regained", target: "buttress", instance, ?away);
        }
    }
}

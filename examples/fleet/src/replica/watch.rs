//! Watches when the key is away from the store.

use std::time::Duration;

use buttress::{
    ThrottleHandle,
    throttle::{FleetCells, RateLimit, UnitCost},
};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::clock::SharedClock;

pub(crate) type Handle = ThrottleHandle<RateLimit<UnitCost, FleetCells>>;

/// A task that looks at the handle every millisecond.
pub(crate) struct Away {
    task: JoinSet<Vec<(u64, u64)>>,
    stop: oneshot::Sender<u64>,
}

impl Away {
    pub(crate) fn begin(handle: Handle, clock: SharedClock, start: u64) -> Self {
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(watch(handle, clock, start, stopped));
        Self { task, stop }
    }

    /// Returns the times when the key was away: from, to, in microseconds since the start.
    ///
    /// A key that is still away was so until `end`.
    pub(crate) async fn end(mut self, end: u64) -> Vec<(u64, u64)> {
        let _ = self.stop.send(end);
        self.task.join_next().await.and_then(Result::ok).unwrap_or_default()
    }
}

async fn watch(
    handle: Handle,
    clock: SharedClock,
    start: u64,
    mut stopped: oneshot::Receiver<u64>,
) -> Vec<(u64, u64)> {
    let (mut away, mut since) = (Vec::new(), None);
    let mut looks = interval(Duration::from_millis(1));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            end = &mut stopped => {
                let end = end.unwrap_or_default();
                away.extend(since.map(|since| (since, end.max(since))));
                return away;
            }
        }
        let now = clock.now().saturating_sub(start);
        match (since, handle.fleet().keys_away > 0) {
            (None, true) => since = Some(now),
            (Some(from), false) => {
                away.push((from, now));
                since = None;
            }
            _ => {}
        }
    }
}

//! The callers: who starts which operation when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, Failure};
use crate::operations::Operation;

/// One operation as it went.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// When it began, since the start of the run.
    pub(crate) began: Duration,
    /// How long it took.
    pub(crate) took: Duration,
    pub(crate) outcome: Result<(), Failure>,
}

/// Carries out all operations with `concurrency` callers and returns how each went.
///
/// Caller *i* may begin an operation at *i* · 5 ms and every 500 ms from there; while it is busy its
/// slots pass unused. Whoever is next takes the next operation of the list.
pub(crate) async fn run<C: Client>(
    client: &Arc<C>,
    origin: &str,
    operations: &Arc<[Operation]>,
    concurrency: u32,
    mut progress: impl FnMut(&Record),
) -> Vec<Record> {
    let start = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let (done, mut records) = tokio::sync::mpsc::unbounded_channel();
    let mut callers = JoinSet::new();
    for caller in 0..concurrency {
        let (client, origin, done) = (Arc::clone(client), origin.to_owned(), done.clone());
        let (operations, next) = (Arc::clone(operations), Arc::clone(&next));
        callers.spawn(async move {
            let mut slot = start + OFFSET * caller;
            loop {
                sleep_until(slot).await;
                let Some(operation) = operations.get(next.fetch_add(1, Relaxed)) else { return };
                let began = Instant::now();
                let outcome = client.run(&origin, *operation).await;
                let took = began.elapsed();
                let _ = done.send(Record { began: began - start, took, outcome });
                slot = following(slot, Instant::now());
            }
        });
    }
    drop(done);
    let mut all = Vec::with_capacity(operations.len());
    while let Some(record) = records.recv().await {
        progress(&record);
        all.push(record);
    }
    all
}

/// The next slot after the one used that is still ahead.
fn following(used: Instant, now: Instant) -> Instant {
    let mut slot = used + SLOT;
    while slot < now {
        slot += SLOT;
    }
    slot
}

const OFFSET: Duration = Duration::from_millis(5);
const SLOT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_caller_waits_for_its_next_slot_and_a_fast_one_for_the_same() {
        let used = Instant::now();
        let after = |millis| following(used, used + Duration::from_millis(millis)) - used;
        assert_eq!(after(1), Duration::from_millis(500));
        assert_eq!(after(500), Duration::from_millis(500));
        assert_eq!(after(501), Duration::from_secs(1));
        assert_eq!(after(2_345), Duration::from_millis(2_500));
    }
}

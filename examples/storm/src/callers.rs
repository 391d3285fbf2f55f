//! The callers: concurrent tasks that start operations at fixed times.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, Failure};
use crate::operations::Operation;

/// The result of a operation.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The start, since the start of the run.
    pub(crate) began: Duration,
    pub(crate) took: Duration,
    pub(crate) outcome: Result<(), Failure>,
}

/// Carries out all operations with `concurrency` callers and returns the result of each.
///
/// Caller *i* has slots at *i* · 5 ms and every 500 ms from there. In a slot, a free caller begins the next
/// operation of the list. The slots of a busy caller pass unused.
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
                slot = next_slot(slot, Instant::now());
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

/// Returns the first slot after `used` that is not before `now`.
fn next_slot(used: Instant, now: Instant) -> Instant {
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
    fn next_slot_is_the_first_one_ahead() {
        let used = Instant::now();
        let after = |millis| next_slot(used, used + Duration::from_millis(millis)) - used;
        assert_eq!(after(1), Duration::from_millis(500));
        assert_eq!(after(500), Duration::from_millis(500));
        assert_eq!(after(501), Duration::from_secs(1));
        assert_eq!(after(2_345), Duration::from_millis(2_500));
    }
}

//! Open arrivals: operations begin at fixed times, whatever the state of the others.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::callers::Record;
use crate::client::Client;
use crate::operations::Operation;

/// Begins operation *i* at *i* · `interval` and returns the result of each, in the order of the ends.
///
/// An operation takes the time from when it was due, so a delay of this process counts too.
pub(crate) async fn run<C: Client>(
    client: &Arc<C>,
    origin: &str,
    operations: impl Iterator<Item = Operation>,
    interval: Duration,
) -> Vec<Record> {
    let start = Instant::now();
    let origin: Arc<str> = origin.into();
    let mut running = JoinSet::new();
    let mut due = start;
    for operation in operations {
        sleep_until(due).await;
        let (client, origin) = (Arc::clone(client), Arc::clone(&origin));
        running.spawn(async move {
            let outcome = client.run(&origin, operation).await;
            Record { began: due - start, took: due.elapsed(), outcome }
        });
        due += interval;
    }
    running.join_all().await
}

//! The heap of a client with 100 operations in flight.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use tokio::task::{JoinSet, yield_now};

use crate::client::Client;
use crate::operations::Operation;
use crate::upstream::process::UpstreamProcess;

/// Counts the live bytes that this process has requested, and their peak.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The number of operations in flight while the heap is measured.
pub(crate) const IN_FLIGHT: u32 = 100;

/// More than the time the upstream takes to respond to 100 requests.
const RESPONSE_TIME: Duration = Duration::from_millis(200);

/// The peaks of a client's heap, in bytes. `None` if the machine was too busy to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peaks {
    /// With operations that share no key.
    pub(crate) distinct: Option<usize>,
    /// With the first operations of the client's own list.
    pub(crate) own: Option<usize>,
}

/// [`IN_FLIGHT`] operations that share no key.
pub(crate) fn distinct() -> impl Iterator<Item = Operation> {
    (0..IN_FLIGHT).map(Operation::distinct)
}

/// The first [`IN_FLIGHT`] operations of `list`. A shorter list is repeated.
pub(crate) fn first(list: &[Operation]) -> impl Iterator<Item = Operation> {
    list.iter().copied().cycle().take(IN_FLIGHT as usize)
}

/// Measures the peak of the heap while a new client carries out `operations` concurrently.
///
/// There are [`IN_FLIGHT`] operations. The result is in bytes above the heap before the client was made.
///
/// The upstream holds its responses until all operations are in flight and no further request comes. This
/// process reads no response before all have arrived. Otherwise the number of responses in memory would
/// depend on chance.
///
/// In the calm phase operations fail only if their time runs out. Then the machine is too busy, fewer
/// operations were in flight, and the result is `None`.
#[expect(clippy::disallowed_methods, reason = "no other task may run meanwhile")]
pub(crate) async fn peak<C: Client>(
    upstream: &mut UpstreamProcess,
    new_client: impl Fn() -> C,
    operations: impl Iterator<Item = Operation>,
) -> io::Result<Option<usize>> {
    let list: Vec<_> = operations.collect();
    let origin: Arc<str> = upstream.origin().into();
    let started = Arc::new(AtomicU32::new(0));
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let client = Arc::new(new_client());
    let mut operations = JoinSet::new();
    for &operation in &list {
        let (client, origin, started) =
            (Arc::clone(&client), Arc::clone(&origin), Arc::clone(&started));
        operations.spawn(async move {
            started.fetch_add(1, Relaxed);
            client.run(&origin, operation).await
        });
    }
    while started.load(Relaxed) < IN_FLIGHT {
        yield_now().await;
    }
    upstream.settle().await?;
    upstream.release().await?;
    thread::sleep(RESPONSE_TIME);
    let outcomes = operations.join_all().await;
    let peak = HEAP.peak_usage().saturating_sub(before);
    if let Some(failure) = outcomes.into_iter().find_map(Result::err) {
        eprintln!("heap not measured, the machine is too busy: {failure:?} in the calm phase");
        return Ok(None);
    }
    Ok(Some(peak))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocator_keeps_the_peak_after_memory_is_freed() {
        let before = HEAP.current_usage();
        drop(Vec::<u8>::with_capacity(64 << 20));
        assert!(HEAP.peak_usage() >= before.saturating_sub(1 << 20) + (64 << 20));
        assert!(HEAP.current_usage() < before + (32 << 20));
    }
}

//! What a hundred operations in flight take of the client's heap.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use tokio::task::{JoinSet, yield_now};

use crate::client::Client;
use crate::operations::Operation;
use crate::upstream::process::Upstream;

/// Counts the live bytes of this process, as the program asked for them, and their peak.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// How many operations are in flight while the heap is measured.
pub(crate) const IN_FLIGHT: u32 = 100;

/// What the upstream takes to answer a hundred requests, with a lot to spare.
const ALL_HAVE_COME: Duration = Duration::from_millis(200);

/// The peaks of one client's heap, in bytes. `None` if the machine was too busy to measure.
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

/// The first [`IN_FLIGHT`] operations of `list`, which begins again if the list is shorter.
pub(crate) fn first(list: &[Operation]) -> impl Iterator<Item = Operation> {
    list.iter().copied().cycle().take(IN_FLIGHT as usize)
}

/// The peak of the heap, in bytes, over what was live before a fresh client is made, while it carries
/// out `operations`, [`IN_FLIGHT`] of them, at once.
///
/// The upstream holds its answers until all of them are in flight and no further request comes, and this
/// process reads none of them before all have come: otherwise it is chance how many are in memory at once.
///
/// In calm weather no operation fails unless it runs out of time. Then the machine is too busy, the peak is not
/// that of so many operations, and the result is `None`.
#[expect(clippy::disallowed_methods, reason = "nothing else may run meanwhile")]
pub(crate) async fn peak<C: Client>(
    upstream: &mut Upstream,
    fresh: impl Fn() -> C,
    operations: impl Iterator<Item = Operation>,
) -> io::Result<Option<usize>> {
    let list: Vec<_> = operations.collect();
    let origin: Arc<str> = upstream.origin().into();
    let started = Arc::new(AtomicU32::new(0));
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let client = Arc::new(fresh());
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
    thread::sleep(ALL_HAVE_COME);
    let outcomes = operations.join_all().await;
    let peak = HEAP.peak_usage().saturating_sub(before);
    if let Some(failure) = outcomes.into_iter().find_map(Result::err) {
        eprintln!("heap not measured, the machine is too busy: {failure:?} in calm weather");
        return Ok(None);
    }
    Ok(Some(peak))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counting_allocator_keeps_the_peak_after_the_memory_is_given_back() {
        let before = HEAP.current_usage();
        drop(Vec::<u8>::with_capacity(64 << 20));
        assert!(HEAP.peak_usage() >= before.saturating_sub(1 << 20) + (64 << 20));
        assert!(HEAP.current_usage() < before + (32 << 20));
    }
}

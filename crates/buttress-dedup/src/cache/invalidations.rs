use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// How often each resource was invalidated.
///
/// Resources whose hashes agree in their top 16 bits share a counter, so an invalidation may also hit
/// entries of another resource. In return the memory is bounded, and a lookup is a single load.
#[derive(Debug, Default)]
pub struct Invalidations {
    // 65,536 counters, 256 KiB. Allocated by the first invalidation, because most layers never see one.
    counts: OnceLock<Box<[AtomicU32]>>,
}

impl Invalidations {
    /// Whether any resource was ever invalidated.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        // Without a cache, a call that reads `false` leaves its resource out, and its flight has the
        // generation `FIRST`. After an `add`, `Flight::join` closes that flight to calls of the resource.
        self.counts.get().is_some()
    }

    /// The current generation of `resource`. Acquire pairs with the increment in `add`: a call that sees the
    /// new generation also sees all that the invalidating call did before.
    #[inline]
    pub(crate) fn generation(&self, resource: Option<u64>) -> ResourceGeneration {
        let Some(resource) = resource else { return ResourceGeneration::FIRST };
        let count = self.counts.get().and_then(|counts| counts.get(place(resource)));
        count.map_or(ResourceGeneration::FIRST, |count| {
            ResourceGeneration(count.load(Ordering::Acquire))
        })
    }

    /// Invalidates all entries and flights of `resource` made so far.
    pub(crate) fn add(&self, resource: u64) {
        let counts =
            self.counts.get_or_init(|| (0..=u16::MAX).map(|_| AtomicU32::new(0)).collect());
        if let Some(count) = counts.get(place(resource)) {
            // Release pairs with the load in `generation`. `poll_work` in `call/drive.rs` adds before it
            // publishes the outcome, so a caller that knows the outcome reads the new generation.
            count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// The number of invalidations of a resource at some time. The counter wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceGeneration(u32);

impl ResourceGeneration {
    /// No invalidation yet.
    pub(crate) const FIRST: Self = Self(0);

    /// Whether the resource was invalidated between this generation and the `other`.
    #[inline]
    pub(crate) const fn is_before(self, other: Self) -> bool {
        // Because the counter wraps: a distance from 1 to half of all values counts as later.
        other.0.wrapping_sub(self.0).wrapping_sub(1) < u32::MAX >> 1
    }
}

/// The top sixteen bits.
fn place(resource: u64) -> usize {
    (resource >> 48) as usize
}

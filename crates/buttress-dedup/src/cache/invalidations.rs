use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// How often each resource was invalidated.
///
/// Two resources share a counter with a chance of 2 in 65,536 at most. Then an invalidation of one also hits
/// entries of the other. In return the memory is bounded, and a lookup is a single load.
#[derive(Debug, Default)]
pub struct Invalidations {
    // Allocated by the first invalidation, because most layers never see one.
    counts: OnceLock<Counts>,
}

/// 65,536 counters, 256 KiB.
#[derive(Debug)]
struct Counts {
    counts: Box<[AtomicU32]>,
    /// A random odd number. The hash of a resource is the same in every process, and a client who chooses
    /// resources must not know which of them share a counter.
    factor: u64,
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
        let count = self.counts.get().and_then(|counts| counts.of(resource));
        count.map_or(ResourceGeneration::FIRST, |count| {
            ResourceGeneration(count.load(Ordering::Acquire))
        })
    }

    /// Invalidates all entries and flights of `resource` made so far.
    pub(crate) fn add(&self, resource: u64) {
        if let Some(count) = self.counts.get_or_init(Counts::new).of(resource) {
            // Release pairs with the load in `generation`. `poll_work` in `call/drive.rs` adds before it
            // publishes the outcome, so a caller that knows the outcome reads the new generation.
            count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Counts {
    fn new() -> Self {
        let counts = (0..=u16::MAX).map(|_| AtomicU32::new(0)).collect();
        Self { counts, factor: fastrand::u64(..) | 1 }
    }

    #[inline]
    fn of(&self, resource: u64) -> Option<&AtomicU32> {
        // Multiply-shift hashing: two resources share a place with a chance of 2 in 65,536 at most.
        self.counts.get((resource.wrapping_mul(self.factor) >> 48) as usize)
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

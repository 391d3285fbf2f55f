use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// How often each subject has changed.
///
/// Subjects whose hashes are alike in sixteen bits share a count, so that now and then an answer is
/// outdated that was not. In return it has a bound, and a look is a load.
#[derive(Debug, Default)]
pub struct Invalidations {
    // 256 KiB, and most layers never see a change.
    counts: OnceLock<Box<[AtomicU32]>>,
}

impl Invalidations {
    /// Whether anything has ever changed.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        self.counts.get().is_some()
    }

    #[inline]
    pub(crate) fn generation(&self, resource: Option<u64>) -> ResourceGeneration {
        let Some(resource) = resource else { return ResourceGeneration::FIRST };
        let count = self.counts.get().and_then(|counts| counts.get(place(resource)));
        count.map_or(ResourceGeneration::FIRST, |count| {
            ResourceGeneration(count.load(Ordering::Acquire))
        })
    }

    pub(crate) fn add(&self, resource: u64) {
        let counts =
            self.counts.get_or_init(|| (0..=u16::MAX).map(|_| AtomicU32::new(0)).collect());
        if let Some(count) = counts.get(place(resource)) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// How often a subject had changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceGeneration(u32);

impl ResourceGeneration {
    /// It had not.
    pub(crate) const FIRST: Self = Self(0);

    /// Whether the subject has changed between this one and the `other`.
    #[inline]
    pub(crate) const fn is_before(self, other: Self) -> bool {
        // From 1 to the half of all numbers.
        other.0.wrapping_sub(self.0).wrapping_sub(1) < u32::MAX >> 1
    }
}

/// The top sixteen bits.
fn place(resource: u64) -> usize {
    (resource >> 48) as usize
}

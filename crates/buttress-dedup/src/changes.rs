use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// How often each subject has changed.
///
/// Subjects whose hashes are alike in sixteen bits share a count, so that now and then an answer is
/// outdated that was not. In return it has a bound, and a look is a load.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    // 256 KiB, and most layers never see a change.
    counts: OnceLock<Box<[AtomicU32]>>,
}

impl Changes {
    #[inline]
    pub(crate) fn of(&self, subject: Option<u64>) -> u32 {
        match (self.counts.get(), subject) {
            (Some(counts), Some(subject)) => {
                counts.get(place(subject)).map_or(0, |count| count.load(Ordering::Acquire))
            }
            _ => 0,
        }
    }

    pub(crate) fn add(&self, subject: u64) {
        let counts =
            self.counts.get_or_init(|| (0..=u16::MAX).map(|_| AtomicU32::new(0)).collect());
        if let Some(count) = counts.get(place(subject)) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// The top sixteen bits.
fn place(subject: u64) -> usize {
    (subject >> 48) as usize
}

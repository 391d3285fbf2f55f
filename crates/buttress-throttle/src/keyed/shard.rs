use std::{hash::Hash, mem, sync::Arc};

use hashbrown::HashTable;

use crate::{limit::LimitTemplate, sync::is_only};

pub(crate) struct KeyEntry<K, L> {
    pub(crate) key: K,
    // Stored, so that the table does not run the key's `Hash`, which may panic, while it moves
    // entries.
    pub(crate) hash: u64,
    // An `Arc`, because cloning the limit itself may run user code, which must not run under the
    // lock.
    pub(crate) limit: Arc<L>,
    /// Whether a call asked for the key since the last sweep.
    pub(crate) used: bool,
}

pub(crate) struct KeyShard<K, L> {
    pub(crate) limits: HashTable<KeyEntry<K, L>>,
    /// The number of lookups until the next sweep.
    until_sweep: usize,
    /// Admitted calls of keys that were dropped.
    pub(crate) admitted: [u64; 4],
}

impl<K, L> KeyShard<K, L> {
    pub(crate) const fn new() -> Self {
        Self { limits: HashTable::new(), until_sweep: KEPT, admitted: [0; 4] }
    }
}

impl<K: Hash + Eq, L: LimitTemplate + Clone> KeyShard<K, L> {
    #[inline]
    pub(crate) fn find(&mut self, hash: u64, key: &K) -> Option<Arc<L>> {
        let entry = self.limits.find_mut(hash, |entry| entry.key == *key)?;
        entry.used = true;
        Some(Arc::clone(&entry.limit))
    }

    /// Counts `lookups`, and returns whether a sweep is due: after as many lookups as there are
    /// keys, so that each lookup pays for one key.
    #[inline]
    pub(crate) fn is_sweep_due(&mut self, lookups: usize) -> bool {
        self.until_sweep = self.until_sweep.saturating_sub(lookups);
        self.until_sweep == 0
    }

    /// Takes unused keys out of the shard. The caller drops them after the lock is released.
    #[cold]
    pub(crate) fn sweep(&mut self, which: SweepScope) -> Vec<KeyEntry<K, L>> {
        let forgotten = |entry: &mut KeyEntry<K, L>| {
            let used = mem::replace(&mut entry.used, false);
            (!used || which == SweepScope::Idle) && is_unused(&entry.limit)
        };
        // No call can add to these counts any more: under the lock, `is_unused` saw that no other
        // reference is left.
        let idle: Vec<_> = self.limits.extract_if(forgotten).collect();
        for entry in &idle {
            add(&mut self.admitted, entry.limit.admitted());
        }
        let room = self.limits.len().max(KEPT) * 2;
        if self.limits.capacity() > room * 2 {
            self.limits.shrink_to(room, |entry| entry.hash);
        }
        self.until_sweep = self.limits.len().max(KEPT);
        idle
    }
}

/// Which of the keys that no call holds are swept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SweepScope {
    /// Those that no call asked for since the last sweep. The others may be asked for again.
    Unused,
    /// All of them.
    Idle,
}

/// Whether a limit is idle and only its table holds it. The caller holds the table's lock, so no
/// call can get the limit meanwhile.
pub(crate) fn is_unused<L: LimitTemplate>(limit: &Arc<L>) -> bool {
    is_only(limit) && limit.is_idle()
}

pub(crate) fn add(sum: &mut [u64; 4], counts: [u64; 4]) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// The number of unused keys that a shard keeps before it sweeps.
pub(crate) const KEPT: usize = if cfg!(buttress_loom) { 2 } else { 64 };

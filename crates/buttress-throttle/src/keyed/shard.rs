use std::{hash::Hash, mem, sync::Arc};

use hashbrown::HashTable;

use crate::{limit::LimitTemplate, sync::is_only};

pub(crate) struct KeyEntry<K, L> {
    pub(crate) key: K,
    // Kept, so that a key's own code, which may panic, does not run while the table moves its entries.
    pub(crate) hash: u64,
    // An `Arc`, because a limit's own clone may be one of the user's code, and is made under no lock.
    pub(crate) limit: Arc<L>,
    /// Asked for since the last sweep.
    pub(crate) used: bool,
}

pub(crate) struct KeyShard<K, L> {
    pub(crate) limits: HashTable<KeyEntry<K, L>>,
    /// So many more lookups until the keys that are not in use are forgotten.
    until_sweep: usize,
    /// Calls that were let through under keys which are forgotten.
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

    /// Whether it is time to take out what is not in use: after as many lookups as there are keys, so that
    /// each lookup pays for one. A call that found no room counts for many.
    #[inline]
    pub(crate) fn is_sweep_due(&mut self, lookups: usize) -> bool {
        self.until_sweep = self.until_sweep.saturating_sub(lookups);
        self.until_sweep == 0
    }

    #[cold]
    pub(crate) fn sweep(&mut self, which: SweepScope) -> Vec<KeyEntry<K, L>> {
        let forgotten = |entry: &mut KeyEntry<K, L>| {
            let used = mem::replace(&mut entry.used, false);
            (!used || which == SweepScope::Idle) && is_unused(&entry.limit)
        };
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

/// Which keys of those that nobody holds a sweep forgets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SweepScope {
    /// Those that nobody has asked for since the last one: the others may be asked for again.
    Unused,
    /// All.
    Idle,
}

/// Whether a limit is idle, and held by nobody but its table, whose lock keeps it so.
pub(crate) fn is_unused<L: LimitTemplate>(limit: &Arc<L>) -> bool {
    is_only(limit) && limit.is_idle()
}

pub(crate) fn add(sum: &mut [u64; 4], counts: [u64; 4]) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// So many keys that are not in use a shard may keep.
pub(crate) const KEPT: usize = if cfg!(buttress_loom) { 2 } else { 64 };

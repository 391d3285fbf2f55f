use std::{borrow::Borrow, mem, sync::Arc};

use hashbrown::HashTable;

use super::fresh::{Fresh, Total};
use crate::sync::is_only;

pub(crate) struct KeyEntry<K, T> {
    pub(crate) key: K,
    // Stored, so that the table does not run the key's `Hash`, which may panic, while it moves
    // entries.
    pub(crate) hash: u64,
    // An `Arc`, so that no code of the value runs under the lock when the value leaves the table.
    pub(crate) value: Arc<T>,
    /// Whether a call asked for the key since the last sweep.
    pub(crate) used: bool,
    /// The key is beyond the maximum, and the value is a [share](Fresh::share).
    pub(crate) is_extra: bool,
}

pub(crate) struct KeyShard<K, T, S> {
    pub(crate) entries: HashTable<KeyEntry<K, T>>,
    /// The number of entries beyond the maximum.
    extra: usize,
    /// The number of lookups until the next sweep.
    until_sweep: usize,
    /// The numbers of the values that were dropped.
    pub(crate) dropped: S,
}

impl<K, T, S: Default> KeyShard<K, T, S> {
    pub(crate) fn new() -> Self {
        let (entries, dropped) = (HashTable::new(), S::default());
        Self { entries, extra: 0, until_sweep: KEPT, dropped }
    }
}

impl<K, T: Fresh, S: Total<T>> KeyShard<K, T, S> {
    #[inline]
    pub(crate) fn find<Q>(&mut self, hash: u64, key: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let entry = self.entries.find_mut(hash, |entry| entry.key.borrow() == key)?;
        if entry.is_extra && is_only(&entry.value) {
            // No call holds the share, so the key may get a value of its own.
            return None;
        }
        entry.used = true;
        Some(Arc::clone(&entry.value))
    }

    /// The number of keys that count against the maximum.
    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.extra)
    }

    /// The entries that count against the maximum.
    pub(crate) fn own(&self) -> impl Iterator<Item = &KeyEntry<K, T>> {
        self.entries.iter().filter(|entry| !entry.is_extra)
    }

    /// Inserts the entry of a key that is not in the shard.
    pub(crate) fn insert(&mut self, hash: u64, key: K, value: Arc<T>, is_extra: bool) {
        let entry = KeyEntry { key, hash, value, used: true, is_extra };
        self.entries.insert_unique(hash, entry, |entry| entry.hash);
        self.extra += usize::from(is_extra);
    }

    /// Takes out the entry of a key beyond the maximum that no call holds. The caller drops the entry
    /// after the lock is released.
    pub(crate) fn take_unheld(&mut self, hash: u64, key: &K) -> Option<KeyEntry<K, T>>
    where
        K: Eq,
    {
        if self.extra == 0 {
            return None;
        }
        let unheld =
            |entry: &KeyEntry<K, T>| entry.is_extra && is_only(&entry.value) && entry.key == *key;
        let (entry, _) = self.entries.find_entry(hash, unheld).ok()?.remove();
        self.extra -= 1;
        Some(entry)
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
    pub(crate) fn sweep(&mut self, which: SweepScope) -> Vec<KeyEntry<K, T>> {
        let forgotten = |entry: &mut KeyEntry<K, T>| {
            let used = mem::replace(&mut entry.used, false);
            (!used || entry.is_extra || which == SweepScope::Idle) && is_unused(&entry.value)
        };
        // No call can change these numbers any more: under the lock, `is_unused` saw that no other
        // reference is left.
        let idle: Vec<_> = self.entries.extract_if(forgotten).collect();
        for entry in &idle {
            if entry.is_extra {
                self.extra -= 1;
            } else {
                self.dropped.add(&entry.value);
            }
        }
        let room = self.entries.len().max(KEPT) * 2;
        if self.entries.capacity() > room * 2 {
            self.entries.shrink_to(room, |entry| entry.hash);
        }
        self.until_sweep = self.entries.len().max(KEPT);
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

/// Whether a value is idle and only its table holds it. The caller holds the table's lock, so no
/// call can get the value meanwhile.
pub(crate) fn is_unused<T: Fresh>(value: &Arc<T>) -> bool {
    is_only(value) && value.is_idle()
}

/// The number of unused keys that a shard keeps before it sweeps.
pub(crate) const KEPT: usize = if cfg!(buttress_loom) { 2 } else { 64 };

use std::{borrow::Borrow, hash::Hash, sync::Arc};

use buttress_core::KeyLookup;
use buttress_state::KeyTable;

use super::key_limit::LimitTable;
use crate::limit::{KeyLimit, KeyWriter, LimitTemplate};

/// A table whose limits learn the bytes of their keys.
pub(super) struct BoundKeys<'a, K, L> {
    pub(super) table: &'a LimitTable<K, L>,
    pub(super) write: KeyWriter<K>,
}

/// Creates a table. The limit that keys without room share gets a key of its own.
pub(super) fn new_table<K, L: LimitTemplate>(template: L, max: usize) -> Arc<LimitTable<K, L>> {
    let table = KeyTable::new(KeyLimit(template), max);
    if L::NEEDS_KEY {
        table.overflow().0.bind(None);
    }
    Arc::new(table)
}

impl<K: Hash + Eq, L: LimitTemplate> BoundKeys<'_, K, L> {
    fn bytes(&self, key: &K) -> Vec<u8> {
        let mut bytes = Vec::new();
        (self.write)(key, &mut bytes);
        bytes
    }
}

impl<K: Hash + Eq, L: LimitTemplate> KeyLookup<K> for BoundKeys<'_, K, L> {
    type Found = Arc<KeyLimit<L>>;

    fn find(self, key: K) -> Arc<KeyLimit<L>> {
        if let Some(known) = self.table.find(&key) {
            // Another call may have inserted the limit, and is about to tell it the key.
            if !known.0.is_bound() {
                known.0.bind(Some(&self.bytes(&key)));
            }
            return known;
        }
        let bytes = self.bytes(&key);
        let limit = self.table.get(key);
        // The limit that further keys share knows its own key already.
        limit.0.bind(Some(&bytes));
        limit
    }

    fn find_by<'k, Q>(self, key: &'k Q, own: impl FnOnce(&'k Q) -> K) -> Arc<KeyLimit<L>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match self.table.find(key) {
            Some(known) if known.0.is_bound() => known,
            _ => self.find(own(key)),
        }
    }
}

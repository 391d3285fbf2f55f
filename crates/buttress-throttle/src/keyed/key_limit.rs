use buttress_state::{Fresh, KeyTable, Total};

use crate::limit::{CountsByCriticality, KeyLimit, LimitTemplate};

/// The limits of all keys.
pub(crate) type LimitTable<K, L> = KeyTable<K, KeyLimit<L>, Admitted>;

impl<L: LimitTemplate> Fresh for KeyLimit<L> {
    fn fresh(&self) -> Self {
        Self(self.0.fresh())
    }

    fn is_idle(&self) -> bool {
        self.0.is_idle()
    }
}

/// The number of admitted calls, by criticality.
#[derive(Default)]
pub(crate) struct Admitted(pub(crate) [u64; 4]);

impl<L: LimitTemplate> Total<KeyLimit<L>> for Admitted {
    fn add(&mut self, limit: &KeyLimit<L>) {
        self.0 = CountsByCriticality::sum(self.0, limit.0.admitted());
    }

    fn merge(&mut self, other: &Self) {
        self.0 = CountsByCriticality::sum(self.0, other.0);
    }
}

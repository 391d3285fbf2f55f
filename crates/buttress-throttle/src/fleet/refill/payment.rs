use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::fleet::cells::Shared;

/// A debt that is being told.
pub(super) struct Payment(Arc<Shared>);

impl Payment {
    /// Returns `None` while too many debts are being told.
    pub(super) fn begin(shared: &Arc<Shared>) -> Option<Self> {
        let before = shared.numbers.payments.fetch_add(1, Relaxed);
        let payment = Self(Arc::clone(shared));
        (before < MAX_PAYMENTS).then_some(payment)
    }
}

impl Drop for Payment {
    fn drop(&mut self) {
        self.0.numbers.payments.fetch_sub(1, Relaxed);
    }
}

/// The most keys without calls whose debts are told at a time.
const MAX_PAYMENTS: usize = 64;

use std::{
    fmt,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use buttress_core::Origin;
use buttress_state::KeyTable;

use crate::{
    lane::Lane,
    settings::{OrderState, Settings},
};

/// Live numbers of an [`OrderLayer`](crate::OrderLayer), over all its services, and a setter that
/// changes its queues while calls run.
///
/// If the layer is [`per_service`](crate::OrderLayer::per_service), the handle of an
/// [`Order`](crate::Order) belongs to that service and its clones alone.
///
/// ```
/// use buttress_order::OrderLayer;
///
/// let layer = OrderLayer::serial(|account: &u32| Some(*account));
/// let handle = layer.handle();
/// assert_eq!(handle.keys(), 0);
/// assert_eq!(handle.waiting(&7), 0);
/// ```
pub struct OrderHandle<K> {
    pub(crate) origin: Origin,
    lanes: Arc<KeyTable<K, Lane>>,
    state: Arc<OrderState>,
}

/// The numbers of an [`OrderHandle`] at one time. The getters of the handle define the fields.
///
/// The numbers are read one after the other while calls go on, so they need not fit together
/// exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrderSnapshot {
    /// [`OrderHandle::calls`].
    pub calls: u64,
    /// [`OrderHandle::rejected`].
    pub rejected: u64,
    /// [`OrderHandle::superseded`].
    pub superseded: u64,
    /// [`OrderHandle::full`].
    pub full: u64,
    /// [`OrderHandle::expired`].
    pub expired: u64,
    /// [`OrderHandle::spare_refused`].
    pub spare_refused: u64,
    /// Waiting calls, of all keys together.
    pub queued: usize,
}

impl<K> OrderHandle<K> {
    pub(crate) fn new(lanes: &Arc<KeyTable<K, Lane>>, settings: &Settings) -> Self {
        Self {
            origin: settings.origin.clone(),
            lanes: Arc::clone(lanes),
            state: Arc::clone(&settings.state),
        }
    }

    /// Returns the number of calls, rejected calls and calls without a key included.
    pub fn calls(&self) -> u64 {
        count(&self.state.calls)
    }

    /// Returns the number of calls and bodies that the layer ended: [`superseded`](Self::superseded),
    /// [`full`](Self::full) and [`expired`](Self::expired) together.
    pub fn rejected(&self) -> u64 {
        self.superseded().saturating_add(self.full()).saturating_add(self.expired())
    }

    /// Returns the number of calls and bodies that ended because a later call of their key came.
    ///
    /// A call that is dropped before it ends is not counted. A serial layer counts none.
    pub fn superseded(&self) -> u64 {
        count(&self.state.superseded)
    }

    /// Returns the number of calls that found the queue of their key full. A layer whose latest
    /// call wins counts none.
    pub fn full(&self) -> u64 {
        count(&self.state.full)
    }

    /// Returns the number of calls whose deadline passed before they began.
    pub fn expired(&self) -> u64 {
        count(&self.state.expired)
    }

    /// Returns the number of [spare](buttress_core::Attempt::spare) calls that were refused, because
    /// their key had a call. They are not part of [`rejected`](Self::rejected).
    pub fn spare_refused(&self) -> u64 {
        count(&self.state.spare_refused)
    }
}

impl<K: Hash + Eq> OrderHandle<K> {
    /// Returns the number of keys with a running or a waiting call, and drops all others.
    ///
    /// Keys beyond [`max_keys`](crate::OrderLayer::max_keys) are not counted.
    pub fn keys(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the number of calls that wait for the turn of `key`.
    ///
    /// 0 if the key is beyond [`max_keys`](crate::OrderLayer::max_keys).
    pub fn waiting(&self, key: &K) -> usize {
        self.lanes.known(key).map_or(0, |lane| lane.waiting())
    }

    /// Returns the number of calls that wait, of all keys together.
    ///
    /// Takes the lock of each part of the table in turn.
    pub fn queued(&self) -> usize {
        self.lanes.fold(0, |sum: usize, lane| sum.saturating_add(lane.waiting()))
    }

    /// Returns the maximum number of calls that wait for a turn, per key. `None` if the latest call
    /// wins: then at most one call of a key waits.
    pub fn max_queued(&self) -> Option<usize> {
        self.lanes.template().max_waiting()
    }

    /// Sets the maximum number of calls that wait for a turn, of the keys in use and of later ones,
    /// as [`OrderLayer::queue`](crate::OrderLayer::queue) does. Changes nothing if the latest call
    /// wins.
    ///
    /// Calls that wait already stay in the queue.
    pub fn set_max_queued(&self, max: usize) {
        self.lanes.change(|lane| lane.set_max_waiting(max));
    }

    /// Returns all numbers at once.
    pub fn snapshot(&self) -> OrderSnapshot {
        let (superseded, full, expired) = (self.superseded(), self.full(), self.expired());
        OrderSnapshot {
            calls: self.calls(),
            rejected: superseded.saturating_add(full).saturating_add(expired),
            superseded,
            full,
            expired,
            spare_refused: self.spare_refused(),
            queued: self.queued(),
        }
    }
}

/// The clone reads the same numbers. `K` need not be `Clone`.
impl<K> Clone for OrderHandle<K> {
    fn clone(&self) -> Self {
        Self {
            origin: self.origin.clone(),
            lanes: Arc::clone(&self.lanes),
            state: Arc::clone(&self.state),
        }
    }
}

/// Prints the [`OrderSnapshot`].
impl<K: Hash + Eq> fmt::Debug for OrderHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OrderHandle").field(&self.snapshot()).finish()
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

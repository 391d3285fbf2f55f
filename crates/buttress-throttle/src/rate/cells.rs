use std::sync::Arc;

use buttress_control::{Nanos, Rate};
use buttress_core::{Criticality, Guard, Quota};
use buttress_state::ColdBox;

use crate::{
    fleet::FleetSnapshot,
    limit::{Admission, CallInfo, LimitPermit, Settings, sealed},
    queue::{CallQueue, FromGrant, QueuedCall, Supply},
};

/// Where the cells of a [`RateLimit`](crate::RateLimit) come from: [`Rates`](crate::Rates) in this process.
///
/// This trait is sealed. Use it as a bound.
pub trait Cells: sealed::Sealed + 'static {
    /// The cells of one limit.
    #[doc(hidden)]
    type Supply: CellSupply;
}

/// The cells of one limit, for which calls wait.
pub trait CellSupply: Supply {
    /// Whether the supply of a key must know its key: see `LimitTemplate`.
    const NEEDS_KEY: bool = false;

    fn is_bound(&self) -> bool {
        true
    }

    fn bind(&self, key: Option<&[u8]>) {
        let _ = key;
    }

    /// The numbers of a rate that a fleet keeps together.
    fn fleet(&self) -> Option<FleetSnapshot> {
        None
    }

    /// Takes cells for a call if they are there. No call waits.
    fn take(&self, now: Nanos, cells: u32) -> Option<CellsLeft>;

    /// Asks for cells ahead of need, after [`CellsLeft::Few`].
    fn restock_ahead(queue: &Arc<CellQueue<Self>>) {
        let _ = queue;
    }

    /// Admits, enqueues or refuses a call that took no cells.
    fn admit_later(
        queue: &Arc<CellQueue<Self>>,
        now: Nanos,
        cells: u32,
        call: &CallInfo<'_>,
    ) -> Admission<RateGrant, QueuedCall<Self>>;

    /// Counts an admitted call.
    fn count(&self, criticality: Criticality);

    /// The number of admitted calls, by criticality.
    fn admitted(&self) -> [u64; 4];

    /// The same rates in their first state.
    fn fresh(&self) -> Self;

    /// Whether the state equals that of a fresh supply.
    fn is_idle(&self, now: Nanos) -> bool;

    /// Settles what keeps cells from being idle that no call uses. Runs under the lock of a shard of
    /// keys, so no user code runs here.
    fn settle_unused(queue: &Arc<CellQueue<Self>>) {
        let _ = queue;
    }

    /// The cells that could be taken now without a wait.
    fn tokens(&self, now: Nanos) -> u32;

    fn rates(&self) -> Vec<Rate>;

    fn set_rate(&self, now: Nanos, index: usize, rate: Rate);
}

/// Whether a call left cells for the calls that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellsLeft {
    Enough,
    Few,
}

pub(crate) type CellQueue<S> = CallQueue<S, <S as Supply>::Grant>;

/// The value that a call of a [`RateLimit`](crate::RateLimit) holds. There is nothing to return.
#[derive(Debug)]
pub struct RateGrant {
    // One word, because few layers advertise quotas, and each call moves this value several times.
    quotas: ColdBox<Box<[Quota]>>,
}

impl RateGrant {
    #[inline]
    pub(crate) fn new(quotas: Option<Box<[Quota]>>) -> Self {
        Self { quotas: quotas.map_or(ColdBox::NOTHING, ColdBox::new) }
    }
}

impl<S: CellSupply> FromGrant<S> for RateGrant {
    // The grant is dropped, which gives nothing back: the cells are spent.
    fn from_grant(
        queue: Arc<CellQueue<S>>,
        _: S::Grant,
        criticality: Criticality,
        settings: &Settings,
    ) -> Self {
        queue.supply.count(criticality);
        Self::new(queue.supply.quotas(settings, queue.now()))
    }
}

impl Guard for RateGrant {}

impl LimitPermit for RateGrant {
    const OUTLIVES_HEAD: bool = false;

    #[inline]
    fn quotas(&self) -> &[Quota] {
        self.quotas.peek().map_or(&[], |quotas| quotas)
    }
}

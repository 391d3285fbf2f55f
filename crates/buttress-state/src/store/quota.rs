use std::{future::Future, time::Duration};

use super::{StoreError, StoreSnapshot};

/// A store that grants cells of rates which many processes share.
///
/// A clone is another handle of the same store. The bytes of a key are those of
/// [`StoreKey`](buttress_core::StoreKey).
///
/// The testkit checks an implementation: `buttress_testkit::quota_contract`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` grants no cells of a rate that processes share",
    note = "`Redis::quotas()` of `buttress-redis` does, and so may a type of your own"
)]
pub trait QuotaStore: Clone + Send + Sync + 'static {
    /// Takes up to `want` cells of all rates, at least `min`, or none.
    ///
    /// # Contract
    ///
    /// Calls with the same key are linearizable. A call that failed, or whose future was dropped,
    /// may have debited. A cell is never granted twice. A bucket exists until it would be full by the
    /// slowest of the rates that asked for it. The future ends within
    /// [`time_limit`](Self::time_limit), and does not panic.
    fn acquire(&self, ask: Ask<'_>) -> impl Future<Output = Result<Grant, StoreError>> + Send;

    /// Returns the present numbers of the store's client.
    fn snapshot(&self) -> StoreSnapshot;

    /// Returns the time within which a call ends, with a grant or with an error. Default: 25 ms.
    fn time_limit(&self) -> Duration {
        DEFAULT_TIME_LIMIT
    }
}

/// A rate, as a store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CellRate {
    /// The time between two cells. Never zero.
    pub interval: Duration,
    /// The most cells that can be taken at once, at least 1.
    pub burst: u32,
    /// The caller knows that the bucket of this rate must exist in the store.
    ///
    /// If the bucket is missing, its state was lost. The bucket then starts empty and not full.
    pub expect: bool,
}

impl CellRate {
    /// Returns a rate of a cell per `interval`, of which `burst` can be taken at once. The bucket
    /// need not exist: assign `expect`. 0 counts as 1 ns and as 1 cell.
    pub const fn new(interval: Duration, burst: u32) -> Self {
        let interval = if interval.is_zero() { Duration::from_nanos(1) } else { interval };
        Self { interval, burst: if burst == 0 { 1 } else { burst }, expect: false }
    }
}

/// A request for cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask<'a> {
    /// The bytes of the key, any number of any bytes. Layers make them by
    /// [`quota_key`](super::quota_key).
    pub key: &'a [u8],
    /// The rates, of which all must grant.
    pub rates: &'a [CellRate],
    /// The most cells to take. 0 takes none, and still pays the debt.
    pub want: u32,
    /// The fewest cells to take. If fewer are there, none are taken. 0 counts as 1.
    pub min: u32,
    /// The cells that were spent without the store. The store takes them out of each bucket first,
    /// down to an empty bucket.
    pub debt: u64,
}

impl<'a> Ask<'a> {
    /// Returns a request for up to `want` cells, and for 1 at least. There is no debt. Assign
    /// `min` and `debt`.
    pub const fn new(key: &'a [u8], rates: &'a [CellRate], want: u32) -> Self {
        Self { key, rates, want, min: 1, debt: 0 }
    }
}

/// The cells that a store granted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The cells taken: 0, or from `min` to `want`.
    pub granted: u32,
    /// The time until `min` more cells are there, if nobody takes any. Zero if they are there now.
    pub next: Duration,
    /// For each rate, the time until its bucket is full.
    pub full_in: Box<[Duration]>,
    /// The cells left after the grant: the fewest of all rates.
    pub remaining: u64,
    /// A bucket that was expected was missing or damaged. That bucket started empty.
    pub lost: bool,
}

impl Grant {
    /// Returns a grant of `granted` cells that left `remaining`, with nothing lost. `full_in` has an
    /// entry for each rate of the request.
    pub const fn new(
        granted: u32,
        next: Duration,
        full_in: Box<[Duration]>,
        remaining: u64,
    ) -> Self {
        Self { granted, next, full_in, remaining, lost: false }
    }
}

const DEFAULT_TIME_LIMIT: Duration = Duration::from_millis(25);

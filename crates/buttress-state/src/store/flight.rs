use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::StoreError;

/// A store of values and locks, by which many processes share a cache and make a call once.
///
/// A clone is another handle of the same store. A lock ends with its time to live, so the promise is
/// a single leader per lease, and not mutual exclusion.
///
/// # Contract
///
/// Calls with the same slot are linearizable. A call that failed, or whose future was dropped, may
/// have done its work. Each future but that of [`changed`](Self::changed) ends within the time limit
/// of the store, and none panics.
///
/// The testkit checks an implementation: `buttress_testkit::flight_contract`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` stores no values that processes share",
    note = "`Redis::flights()` of `buttress-redis` does, and so may a type of your own"
)]
pub trait FlightStore: Clone + Send + Sync + 'static {
    /// Looks for a value, or takes the lock.
    ///
    /// A value of the group's present generation is a [`Hit`](Begun::Hit), unless its stamp is
    /// `newer_than`. A value of a former generation is a miss.
    fn begin(
        &self,
        slot: Slot<'_>,
        newer_than: Option<[u8; 16]>,
    ) -> impl Future<Output = Result<Begun, StoreError>> + Send;

    /// Keeps the lock for another lease. Returns whether the lock is still that of `token`.
    fn renew(
        &self,
        slot: Slot<'_>,
        token: &Token,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends the work of `token`, and wakes the callers that wait for the slot.
    ///
    /// Stores a value only if the generation of the group is that of `token`. If the lock is not
    /// that of `token` any more, a value fills an empty slot only.
    fn finish(
        &self,
        slot: Slot<'_>,
        token: &Token,
        ending: Ending,
    ) -> impl Future<Output = Result<Finished, StoreError>> + Send;

    /// Gives the group a new generation: its values are misses, and what is in progress is
    /// [`Superseded`](Finished::Superseded).
    fn invalidate(&self, group: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Invalidates all groups of the store.
    fn clear(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits until the slot may have changed, or until `until`. A hint: the store may miss a change,
    /// and may report one that did not happen. Changes count from this call on, also before the
    /// future is polled.
    fn changed(&self, slot: Slot<'_>, until: Instant) -> impl Future<Output = ()> + Send;
}

/// The place of a value and of its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Slot<'a> {
    /// What is invalidated together: the bytes of the resource, or those of the key without one.
    pub group: &'a [u8],
    /// The bytes of the key.
    pub key: &'a [u8],
}

impl<'a> Slot<'a> {
    /// Returns the slot of `key` in `group`.
    pub const fn new(group: &'a [u8], key: &'a [u8]) -> Self {
        Self { group, key }
    }
}

/// The right to fill a slot: its caller leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Token {
    /// The generation of the group when the lock was taken.
    pub generation: [u8; 16],
    /// The owner of the lock, random. The stamp of the value that the owner stores.
    pub owner: [u8; 16],
}

impl Token {
    /// Returns the token of `owner` in `generation`.
    pub const fn new(generation: [u8; 16], owner: [u8; 16]) -> Self {
        Self { generation, owner }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("generation", &format_args!("{:032x}", u128::from_be_bytes(self.generation)))
            .field("owner", &format_args!("{:032x}", u128::from_be_bytes(self.owner)))
            .finish()
    }
}

/// How a call on a slot begins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Begun {
    /// The slot holds a value.
    #[non_exhaustive]
    Hit {
        /// The bytes that the leader gave to [`finish`](FlightStore::finish).
        bytes: Bytes,
        /// The time until the store drops the value.
        ttl: Duration,
        /// The [owner](Token::owner) that stored the value. Passed as `newer_than`, the stamp asks
        /// for another value.
        stamp: [u8; 16],
    },
    /// The caller holds the lock: the caller makes the call, and finishes it.
    Lead(Token),
    /// Another caller holds the lock, for this time at most.
    Busy(Duration),
    /// The last value could not be shared: the caller makes the call and stores nothing.
    Unshared,
}

impl Begun {
    /// Returns the hit of a value that `stamp` stored, and that the store keeps for `ttl`.
    pub const fn hit(bytes: Bytes, ttl: Duration, stamp: [u8; 16]) -> Self {
        Self::Hit { bytes, ttl, stamp }
    }
}

/// What a leader leaves in its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// A value.
    #[non_exhaustive]
    Value {
        /// The bytes of the value.
        bytes: Bytes,
        /// The time after which the store drops the value.
        ttl: Duration,
    },
    /// A note that the value could not be shared. The note stays for 1 s.
    Unshared,
    /// Nothing: the next caller leads.
    Abandon,
}

impl Ending {
    /// Returns the ending that stores `bytes` for `ttl`.
    pub const fn value(bytes: Bytes, ttl: Duration) -> Self {
        Self::Value { bytes, ttl }
    }
}

/// What became of an [`Ending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finished {
    /// The ending was stored, or the slot was left empty.
    Stored,
    /// The lock was lost, and the value filled an empty slot.
    StoredLate,
    /// Nothing was stored: the group was invalidated, or another leader was faster.
    Superseded,
}

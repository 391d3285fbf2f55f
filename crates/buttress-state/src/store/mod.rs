//! What a store that processes share is asked, and what the store answers.

mod any_quota_store;
mod error;
mod flight;
mod quota;
mod quota_key;
mod snapshot;

pub use self::any_quota_store::AnyQuotaStore;
pub use self::error::{StoreError, StoreErrorKind};
pub use self::flight::{Begun, Ending, Finished, FlightStore, Slot, Token};
pub use self::quota::{Ask, CellRate, Grant, QuotaStore};
pub use self::quota_key::quota_key;
pub use self::snapshot::StoreSnapshot;

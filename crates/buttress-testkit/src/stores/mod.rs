//! Stores that processes share: contracts for them, and a store in this process.

mod fake;
mod flight_contract;
mod quota_contract;

pub use self::fake::{FakeAsk, FakeStore, Outage};
pub use self::flight_contract::flight_contract;
pub use self::quota_contract::quota_contract;

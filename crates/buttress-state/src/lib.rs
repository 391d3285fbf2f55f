//! State that tower middleware keeps between calls: a value per key, retry budgets, a clock for
//! control laws, and locks.
//!
//! ```
//! use buttress_state::{Fresh, KeyTable};
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! #[derive(Default)]
//! struct Failures(AtomicU32);
//!
//! impl Fresh for Failures {
//!     fn fresh(&self) -> Self { Self::default() }
//!     fn is_idle(&self) -> bool { self.0.load(Ordering::Relaxed) == 0 }
//! }
//!
//! let hosts = KeyTable::<&str, Failures>::new(Failures::default(), 1000);
//! hosts.get("db-1").0.fetch_add(1, Ordering::Relaxed);
//! assert_eq!(hosts.len(), 1);
//! ```
//!
//! # When to use it
//!
//! Use this crate to write a layer that keeps state per key, or pays for additional calls from a
//! budget. Do not use it to use the layers of buttress: their crates re-export what their users
//! need, such as [`Budget`].
//!
//! - [`KeyTable`] holds a value for each key in use, up to a maximum, and drops idle keys. The
//!   value implements [`Fresh`]. A [`Total`] sums the numbers of all values, also of dropped ones.
//! - [`Budget`] limits the additional calls of several layers together. A [`Withdrawal`] is refunded
//!   when it is dropped, unless it is [spent](Withdrawal::spend).
//! - [`LimitClock`] converts between tokio's clock and the time of a control law.
//! - [`SeededHash`] hashes the keys of a table, with seeds that a simulation can reproduce.
//! - [`ColdBox`] holds a value that most calls do not need.
//! - [`sync`] has the locks and atomics of std, or those of loom under its model checker.
//!
//! - [`QuotaStore`] and [`FlightStore`] are the stores that processes share: cells of rates, and
//!   cached values with their locks. `buttress-redis` implements both.
//!
//! # Cancellation
//!
//! No item here spawns a task, or does work after being dropped. None waits, except the futures of a
//! store.
//!
//! # Sharing
//!
//! Clones of a [`Budget`] share an account. A [`KeyTable`] is shared in an `Arc`. No user code runs
//! under a lock, except the `Eq` of a key, the `Clone` of a key in [`KeyTable::keys`],
//! [`Fresh::is_idle`], [`Fresh::share`], [`Total`], and the closure of [`KeyTable::fold`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod budget;
mod clock;
mod cold_box;
mod key_table;
mod seeded_hash;
mod store;
pub mod sync;

pub use budget::{Budget, Paid, Withdrawal};
pub use clock::LimitClock;
pub use cold_box::ColdBox;
pub use key_table::{Fresh, KeyTable, Total};
pub use seeded_hash::SeededHash;
pub use store::{
    AnyQuotaStore, Ask, Begun, CellRate, Ending, Finished, FlightStore, Grant, QuotaStore, Slot,
    StoreError, StoreErrorKind, StoreSnapshot, Token, quota_key,
};

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

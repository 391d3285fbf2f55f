//! Backoff, retry budgets, rate limits, circuit breaking, controlled delay, latency quantiles,
//! client-side throttling and adaptive concurrency limits, as pure arithmetic without a runtime.
//!
//! A law reads no clock, draws no random number and knows no runtime. The caller passes the time as
//! [`Nanos`] and the draw as an `f64` in `[0, 1)`. A [`Circuit`] asks its [`CircuitHost`] for both. So
//! a run with a paused clock and a seed is repeatable.
//!
//! ```
//! use std::time::Duration;
//! use buttress_control::{Backoff, Delays, Nanos, Ratio, RetryBudget};
//!
//! let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_millis(400));
//! let budget = RetryBudget::new(Duration::from_secs(10), 10, Ratio::percent(20));
//! let now = Nanos::new(0);
//!
//! budget.deposit(now); // once per call
//! let mut delays = Delays::new();
//! if budget.withdraw(now, 1) {
//!     let delay = backoff.next(&mut delays, 0.5); // a uniform draw
//!     assert_eq!(delay, Duration::from_millis(25)); // half of the first ceiling
//! }
//! ```
//!
//! ```
//! use std::time::Duration;
//! use buttress_control::{Denied, Nanos, Rate, Rates};
//!
//! let limit = Rates::new(Rate::per_second(10)).and(Rate::per_minute(100));
//! let now = Nanos::new(0);
//!
//! match limit.reserve(now, 1, Duration::from_millis(200)) {
//!     Ok(reservation) => assert_eq!(reservation.at(), now), // act then, or `cancel` it
//!     Err(Denied::After(wait)) => println!("again in {wait:?}"),
//!     Err(_) => println!("more than a burst"),
//! }
//! ```
//!
//! # The laws
//!
//! | law | question | state |
//! |---|---|---|
//! | [`Backoff`] | how long until the next attempt? | [`Delays`], 16 bytes per call |
//! | [`RetryBudget`] | may this call be retried, given what all calls did lately? | shared, a window of slots |
//! | [`RetryThrottle`] | the same, as gRPC defines it | shared, one atomic |
//! | [`TokenBucket`] | the same, as the AWS SDKs define it | shared, one atomic; a lock while it refills |
//! | [`Gcra`] | may this call pass now, and if not, when? | shared, one atomic; a lock to cancel |
//! | [`Rates`] | the same, for several rates at once | a [`Gcra`] each |
//! | [`Lease`] | how many cells of a rate that replicas share does this one hold ahead? | a value under the caller's lock |
//! | [`Circuit`] | is the service well enough to be called? | shared, one atomic; a lock for failures |
//! | [`AcceptRatio`] | may this request be sent, given how many the service accepts? | shared, a window of slots |
//! | [`Latencies`] | how long do all but the slowest calls take? | shared, a histogram of atomics |
//! | [`EarlyRefresh`] | is it time to renew a cached value, before it expires? | a value |
//! | [`Codel`] | has this request waited too long in its queue? | a value, of the queue |
//! | [`Aimd`], [`Vegas`], [`Gradient`], [`Gradient2`], [`Trend`] | how many calls may be in flight? ([`Adapt`]) | a value under the caller's lock |
//!
//! # Sharing
//!
//! [`Backoff`] and [`EarlyRefresh`] are values. [`Delays`] belongs to a single call, [`Codel`] to a
//! single queue. The laws of [`Adapt`] need a lock around them. The others take `&self`, are `Sync`
//! and never grant a token twice. Share them in an `Arc` or in a layer.
//!
//! # Bad input
//!
//! No constructor fails and no method panics. Edge values have a documented meaning: a ratio or
//! factor that is not a number, a zero window or rate, a time that steps backwards.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept_ratio;
mod adaptive;
mod circuit;
mod codel;
mod early_refresh;
mod latencies;
mod numbers;
mod rate;
mod retry;
mod sync;
mod window;

pub use accept_ratio::{AcceptRatio, RequestEnd, SentRequest};
pub use adaptive::{Adapt, Aimd, Gradient, Gradient2, Sample, Slack, Trend, Vegas, near_limit};
pub use circuit::{
    Circuit, CircuitChange, CircuitCounts, CircuitHost, CircuitNumbers, CircuitOpen,
    CircuitOutcome, CircuitPass, CircuitReason, CircuitRules, CircuitState,
};
pub use codel::Codel;
pub use early_refresh::EarlyRefresh;
pub use latencies::Latencies;
pub use numbers::{Nanos, Random, Ratio};
pub use rate::{
    Denied, Gcra, Lease, LeaseDemand, LeaseKind, LeaseRefill, LeaseReply, LeaseRules, LeasedCells,
    LeasedRate, Rate, Rates, Reservation,
};
pub use retry::{Backoff, Delays, Jitter, RetryBudget, RetryKind, RetryThrottle, TokenBucket};

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! The control laws of buttress, pure: backoff, retry budgets, token buckets, adaptive limits.
//!
//! A law is arithmetic: it reads no clock, draws no random number and knows no runtime. The caller
//! passes the time as [`Nanos`] and the draw as an `f64` in `[0, 1)`, so a paused clock and a seed
//! give the same answers twice.
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
//! # The laws
//!
//! | law | question it answers | state |
//! |---|---|---|
//! | [`Backoff`] | how long until the next attempt? | [`Delays`], 16 bytes per call |
//! | [`RetryBudget`] | may this call be retried, given what all calls did lately? | shared, a window of slots |
//! | [`RetryThrottle`] | the same, as gRPC defines it | shared, one atomic |
//! | [`TokenBucket`] | the same, as the AWS SDKs define it | shared, one atomic; a lock while it refills |
//! | [`Aimd`], [`Vegas`], [`Gradient`], [`Gradient2`], [`Trend`] | how many calls may be in flight? ([`Adapt`]) | a value, for the caller's lock |
//!
//! # Sharing
//!
//! [`Backoff`] is a value, [`Delays`] belongs to one call. Budget, throttle and bucket take `&self`, are
//! `Sync` and never grant a token twice: put one into an `Arc`, or into a layer, and share it. The laws
//! of [`Adapt`] are values that learn, and want a lock around them.
//!
//! # Bad input
//!
//! No constructor fails and no method panics. A ratio or factor that is not a number, a zero window
//! and a time that steps backwards each have one meaning, given where they are passed.

mod adapt;
mod aimd;
mod average;
mod backoff;
mod band;
mod baseline;
mod budget;
mod correlation;
mod gradient;
mod gradient2;
mod nanos;
mod options;
mod quantile;
mod ratio;
mod rounds;
mod slack;
mod span;
mod sync;
mod throttle;
mod token_bucket;
mod trend;
mod vegas;
mod window;

pub use adapt::{Adapt, Sample, near_limit};
pub use aimd::Aimd;
pub use backoff::{Backoff, Delays, Jitter};
pub use budget::RetryBudget;
pub use gradient::Gradient;
pub use gradient2::Gradient2;
pub use nanos::Nanos;
pub use ratio::Ratio;
pub use slack::Slack;
pub use throttle::RetryThrottle;
pub use token_bucket::{RetryKind, TokenBucket};
pub use trend::Trend;
pub use vegas::Vegas;

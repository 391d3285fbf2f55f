//! Tests of tower layers: contracts, scripted upstreams, and seeded simulations of outages.
//!
//! ```
//! # use tower::timeout::TimeoutLayer;
//! # use std::time::Duration;
//! #[tokio::test(start_paused = true)]
//! async fn my_layer_keeps_the_contract() {
//!     buttress_testkit::contract(|| TimeoutLayer::new(Duration::from_secs(1))).await;
//! }
//! # fn main() {}
//! ```
//!
//! When to use it: for every layer that others put into their stacks. The most frequent faults of a
//! layer compile and answer: the layer calls a clone that was never ready, a rejected call keeps
//! its permit, or a dropped call runs on. [`contract`] finds them, and names the broken [`Clause`]
//! and how it shows. When not: the contract says nothing about the purpose of the layer.
//!
//! | item | use |
//! |---|---|
//! | [`contract`] | checks any layer: readiness, cancellation, wakers, outcomes, on a shared handle and on clones |
//! | [`sweep`] | drops a call of a whole stack at every await, and checks that nothing is left behind |
//! | [`Probe`] | a service that records its use, with permits that can be stranded |
//! | [`Script`] | an upstream that answers, fails, waits and hangs by script, and records its calls |
//! | [`Frames`] | a streaming body, by script |
//! | [`Events`] | records the events of a layer, by name and as a log to compare |
//! | [`counts!`] | the expected snapshot of a handle, by the fields that are not zero |
//! | [`TestError`] | an error type for tests: failed, not found, rejected |
//! | [`FakeStore`] | a store that processes share, with delays, outages, lost replies and clock steps by script |
//! | [`quota_contract`], [`flight_contract`] | check a store that processes share |
//! | [`Queueing`] | a simulated service under load, in virtual time, to test the law of a limit |
//! | [`simulate`] | runs a program in virtual time with all chance seeded: the same seed, the same log |
//! | [`Weather`], [`WeatherLayer`] | latency, faults, hangs, throttling and outages, as a function of seed, key and time |
//! | [`Load`], [`LoadReport`] | calls at a rate or by callers, and their outcomes by the second, with assertions |
//!
//! # A stack in an outage
//!
//! [`simulate`] runs a whole stack against a [`Weather`] in virtual time. The test below takes
//! milliseconds:
//!
//! ```
//! use buttress_testkit::{Load, Weather, WeatherLayer, simulate};
//! use std::{io, time::Duration};
//! use tower::{ServiceBuilder, service_fn};
//!
//! let (ms, s) = (Duration::from_millis, Duration::from_secs);
//! for seed in 0..3 {
//!     let (report, _log) = simulate(seed, async || {
//!         let weather = Weather::seeded(seed).latency(ms(5), ms(20)).outage(s(2), s(4));
//!         let weather = WeatherLayer::new(weather, |n: &u64| *n, |_| Err(io::Error::other("down")));
//!         let upstream = weather.upstream();
//!         let stack = ServiceBuilder::new()
//!             .concurrency_limit(100)
//!             .layer(weather)
//!             .service(service_fn(async |n: u64| Ok(n)));
//!         Load::new(stack).upstream(&upstream).every(ms(10)).for_(s(8)).request(|n| n).await
//!     });
//!     report.assert_recovers(s(4), s(1));
//!     report.assert_amplification_within(1.2);
//! }
//! ```
//!
//! Fault injection into production traffic is out of scope.
//!
//! # Layers of a protocol
//!
//! By default the contract uses numbers ([`Numbers`]): requests are `u32`, and errors are
//! `BoxError`. A layer that needs the requests of a protocol takes a [`Dialect`]:
//!
//! ```
//! use buttress_testkit::{Dialect, Heard, Understand, contract};
//! use std::convert::Infallible;
//!
//! struct Get(u32);
//! struct Page { status: u16, number: u32 }
//!
//! struct Pages;
//!
//! impl Dialect for Pages {
//!     type Request = Get;
//!     type Response = Page;
//!     type Error = Infallible;
//!
//!     fn request(&self, number: u32) -> Get { Get(number) }
//!     fn answer(Get(number): Get) -> Page { Page { status: 200, number } }
//!     fn fail(Get(number): Get) -> Result<Page, Infallible> { Ok(Page { status: 500, number }) }
//! }
//!
//! impl Understand<Page, Infallible> for Pages {
//!     fn understand(&self, outcome: Result<Page, Infallible>) -> Heard {
//!         match outcome {
//!             Ok(Page { status: 200, number }) => Heard::Answer(number),
//!             Ok(Page { status: 500, number }) => Heard::Failure(number),
//!             Ok(Page { status, .. }) => Heard::Other(format!("status {status}")),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! contract(tower::layer::util::Identity::new).dialect(Pages).await;
//! # }
//! ```
//!
//! # Time
//!
//! All items run on tokio's clock. [`contract`] needs paused time, and the others are meant for it.
//! [`simulate`] pauses the time of its own runtime.
//!
//! # Defaults
//!
//! | item | default |
//! |---|---|
//! | [`Probe`] | always ready, answers at once, panics on a call without readiness |
//! | [`Script`] | always ready, steps take no time, the last step repeats, hangs without steps |
//! | [`Events`] | events of this thread, of all targets and levels |
//! | [`contract`] | all clauses, in [`Numbers`] |
//! | [`Weather`] | every call is clear and takes no time |
//! | [`Load`] | a call every 10 ms for 10 s, no patience, 60 s to end |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod contract;
mod counts;
mod events;
mod probe;
mod queueing;
mod script;
mod seeded_random;
mod simulation;
mod stores;
mod sweep;
mod test_error;

pub use contract::{
    Answer, Clause, Contract, Dialect, Failure, Heard, Numbers, Subject, Understand, contract,
};
pub use events::{Event, Events};
pub use probe::{Probe, ProbeFuture, Reserved};
pub use queueing::{Answered, Queueing, QueueingReport, Times};
pub use script::{Frames, Received, Script, Scripted, ScriptedFuture};
pub use simulation::{
    Condition, Fail, InjectedFault, Load, LoadReport, LoadRun, LogDifference, PassOn, Second,
    SimulationLog, Upstream, Weather, WeatherFuture, WeatherLayer, WeatherService,
    assert_reproducible, simulate,
};
pub use stores::{FakeAsk, FakeStore, Outage, flight_contract, quota_contract};
pub use sweep::{Sweep, sweep};
pub use test_error::TestError;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

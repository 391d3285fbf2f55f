//! A layer that lets through as many calls as the service behind it can bear: so many at a time, so
//! many per second, or as many as turn out well.
//!
//! ```
//! use buttress_core::BoxError;
//! use buttress_throttle::{Rate, ThrottleLayer};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let database = ServiceBuilder::new()
//!     .layer(ThrottleLayer::rate(Rate::per_second(100).burst(1)))
//!     .layer(ThrottleLayer::concurrency(32).queue(64))
//!     .service_fn(|row: u32| async move { Ok::<_, BoxError>(row) });
//! assert_eq!(database.clone().oneshot(7).await.unwrap(), 7);
//! let error = database.oneshot(8).await.unwrap_err();
//! assert!(error.to_string().starts_with("throttle: rate limited, retry after"));
//! # }
//! ```
//!
//! # When to use it
//!
//! On a server around the handlers, inside its deadline: what it cannot serve in time is answered for
//! at once, and what it does serve stays fast. On a client around the attempts, inside its retry, so
//! that the retries of all callers together cannot be more than the service bears, and outside the
//! deadline of one attempt: a wait that ends with that one would count as the service's own timeout.
//!
//! Not to order calls, and not as a circuit breaker: a limit takes load off a service that is slow,
//! not off one that is down.
//!
//! | limit | what it bounds | learns from outcomes |
//! |---|---|---|
//! | [`concurrency`](ThrottleLayer::concurrency) | calls at a time | no |
//! | [`rate`](ThrottleLayer::rate), [`rates`](ThrottleLayer::rates) | calls per unit of time | no |
//! | [`adaptive`](ThrottleLayer::adaptive) | calls at a time, as many as a law finds right | how long calls take, and timeouts |
//! | [`accept_ratio`](ThrottleLayer::accept_ratio) | calls sent for each that is accepted | whether the service accepts them |
//!
//! Each can be had for every key apart: [`keyed`](ThrottleLayer::keyed).
//!
//! # Permits
//!
//! A call takes its permit in `call` and holds it until its response has ended: in `Http` mode until
//! the body's last frame, its error or its drop, and with [`until_head`](ThrottleLayer::until_head), or
//! in `Plain` mode, until the response is there. A layer that is applied to itself, or twice in one
//! stack, takes two permits for one call.
//!
//! # What limits learn from
//!
//! A call is a *sample* of an [`adaptive`](ThrottleLayer::adaptive) limit if at least half of the limit was
//! in use when it was admitted. Its time runs from the permit to the response head, without the time that
//! the service waited for the body of the request. Neither how fast a caller reads its response nor how
//! slowly it sends its request says anything of the service.
//!
//! | the call ended with | sample |
//! |---|---|
//! | a success, or a permanent failure that a server answered with | answered |
//! | a timeout, here or further in, or an answer that asks for less load | a sign of overload |
//! | its caller leaving before its deadline, after longer than a call without load takes ([`Adapt::unloaded_rtt`]) | answered after that long |
//! | its caller leaving earlier, any other failure, a rejection by a layer below, an error that no server sent | none |
//!
//! If most callers leave in this way, they leave after their own patience, however long the service's queue is.
//! So once 100 more calls were given up than answered, each further one is a sign of overload, until more are answered
//! again. While the law does not know what a call without load takes, the latest answer stands for it.
//!
//! If the head comes, or the time is up, while the service still waits for the body, or after the body
//! failed, the call is no sample either, because the time was its caller's. It is one only if the answer
//! asks for less load. A body that the service has let go of counts as read to its end.
//!
//! In `Http` mode the body is watched if the call may be a sample, or the limit is an accept ratio, and its
//! type can hold another body: see [`Propagate::watch_upload`](buttress_core::Propagate::watch_upload). That costs two allocations. A `hyper::body::Incoming` that has
//! not ended cannot be watched, and makes no sample: box it. A body of any other type, and all there is in
//! `Plain` mode, counts as part of the request.
//!
//! An [`accept_ratio`](ThrottleLayer::accept_ratio) limit sorts all its calls:
//!
//! | the call ended with | counts as |
//! |---|---|
//! | a success, or a permanent failure that a server answered with | request and accepted |
//! | any other failure, or a timeout | request |
//! | its caller leaving before its deadline, and late | request |
//! | its caller leaving earlier, a rejection by a layer below, an error that no server sent, its own body failing, or a timeout while the service waited for its body | nothing |
//!
//! A call without an end counts as a request once it is *late*: out for twice the usual latency, which is
//! learned from accepted calls. Until some were accepted in the window, 250 ms are usual
//! ([`AcceptRatio::initial_latency`]). So a first burst is let through whole, and a service that hangs from the start is
//! shed from after 500 ms.
//!
//! "An error that no server sent" is a [permanent](buttress_core::Verdict::Permanent) one that the mode knows to be
//! made on this side ([`Classify::is_callers_own`](buttress_core::Classify::is_callers_own)): the caller broke its upload off,
//! the request could not be built, a certificate is not trusted. In `Plain` mode an `Err` is the service's answer.
//!
//! # Queues
//!
//! By default no call waits. With [`queue`](ThrottleLayer::queue), up to a given number of calls wait for
//! a permit, or for the cells of a rate. The queue works in the same way for both:
//!
//! - The oldest waiter is next. The queue takes the permit or the cells for that waiter, so no later call
//!   can take them. A waiter that needs more cells than there are is not overtaken. Higher
//!   [criticalities](buttress_core::Criticality) go first, and in a full queue the last to come of the
//!   lowest makes room for a higher one.
//! - Nothing is taken ahead of time, so a waiter that leaves costs the others nothing.
//! - A waiter leaves at the ambient deadline, and after [`max_wait`](Queue::max_wait). A call is
//!   refused at once if it would wait for longer than it can. For a rate that wait is exact: the cells of
//!   those that go first and its own, at the rate; of several rates, at the slowest. For a permit it is an
//!   estimate: the call's position times the mean time between the latest releases. The mean weighs each
//!   release by an eighth, and is forgotten when the queue runs empty. While the wait is not known, no
//!   call is refused for it; at a rate of 0 it is not known.
//! - [`codel`](Queue::codel) sheds the calls that a standing queue has kept for too long, and
//!   [`adaptive_lifo`](Queue::adaptive_lifo) serves the latest first while it stands.
//! - A change of the limit or of the rate reaches all waiters at once. A waiter that weighs more than a
//!   lowered burst is refused.
//!
//! A request that announces a deadline announces what the wait has left of it. If that is nothing, the
//! call is refused as if its deadline had passed in the queue.
//!
//! Cells come with time, so a timer wakes the queue when there are enough for the first waiter: one timer
//! for each runtime that calls wait in. The timer depends on no call being polled. It may ring a
//! millisecond late, as tokio's timers do; the cells count from the time they were there.
//!
//! A call that waits for a rate, or under a deadline or a `max_wait`, must be polled within a tokio
//! runtime that has its time driver enabled, as tokio's own timers must.
//!
//! # Criticality
//!
//! A call's criticality comes with its request (in `Http` mode the extension
//! [`Criticality`](buttress_core::Criticality) or the header `x-criticality`), else it is the ambient
//! one. It is ambient for everything inside, and goes out with the request.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's: a full limit is no reason not to be ready, and an idle handle
//! holds no permit. The instance that was polled ready is the one called; a call that waits takes it
//! along, and one that is rejected gives back what it had reserved.
//!
//! # Errors
//!
//! The error type is the inner service's. A call that is not let through ends with a
//! [`Rejection`](buttress_core::Rejection): as an `Err` in `Plain` mode (the error must be
//! `From<Rejection>`), as a response in `Http` mode.
//!
//! | reason | when | HTTP | gRPC |
//! |---|---|---|---|
//! | `Overloaded` | no permit, no place, too long a wait for one, too few calls accepted | 503 | 14 |
//! | `RateLimited` | the rate is used up, or its queue is full, or the wait for it too long | 429 | 8 |
//! | `NeverAdmissible` | the call weighs more than the rate ever holds | 413 | 8 |
//! | `DeadlineExceeded` | the deadline passed in the queue | 504 | 4 |
//!
//! `RateLimited` says when to come again: after as long as the calls that wait now and this one take. At a
//! rate of 0 it says nothing. `Overloaded` says what a concurrency limit was given as its
//! [`retry_after`](ThrottleLayer::retry_after), if it was given one.
//!
//! Code of the user's that panics (a law, a classification, a waker, a key) costs no permit and keeps no
//! other call from being woken. The panic goes on afterwards, except that of a waker that a timer wakes.
//!
//! # Cancellation
//!
//! Dropping the response future or body gives its permit or its place back at once. A permit that had
//! just been handed over goes to the next in line. So do the cells of a rate, if none were granted since and
//! the rate was not changed; otherwise they are lost, because the burst may have been full without them.
//! Nothing is spawned.
//!
//! A permit that is held until the body ends is held for as long as the caller takes to read it: a
//! client that stops reading holds its permit, past any deadline, until its connection is closed. Close
//! those, or use [`until_head`](ThrottleLayer::until_head). A connection that was upgraded (101) is not
//! counted: its response ends with its head. Work that goes on when its call is dropped, in a task or a
//! thread pool, goes on without a permit.
//!
//! # Sharing
//!
//! Clones of a layer and all services it makes share one limit, its queue and its counts, or with
//! [`per_service`](ThrottleLayer::per_service) each service has its own. While no call waits, a permit
//! is taken and given back with one atomic operation each, and the cells of a rate are taken with one.
//! Calls that wait, and those that come while others wait, take a lock. No lock is held while a call is
//! woken.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | trace | `throttle.queued` | `instance`, `criticality` |
//! | debug | `throttle.rejected` | `instance`, `reason`, `criticality`, `retry_after`, `observed` |
//!
//! `reason` is `full`, `queue_full`, `displaced`, `expected_wait`, `max_wait`, `codel`, `deadline`, `rate`,
//! `cost` or `accept_ratio`. `rate` is that of a rate without a queue.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`queue`](ThrottleLayer::queue) | 0: a call that finds no room is rejected |
//! | [`max_wait`](Queue::max_wait) | the ambient deadline; without one a wait may have no end |
//! | [`codel`](Queue::codel), [`adaptive_lifo`](Queue::adaptive_lifo) | off |
//! | [`until_head`](ThrottleLayer::until_head) | off: a permit is held until the body has ended |
//! | [`weigh`](ThrottleLayer::cost) | one cell for each call |
//! | [`announce`](ThrottleLayer::advertise_quota) | off |
//! | [`retry_after`](ThrottleLayer::retry_after) | none |
//! | [`max_keys`](ThrottleLayer::max_keys) | 65,536 |
//! | [`classify`](ThrottleLayer::classify) | the mode's |
//! | [`observe`](ThrottleLayer::observe) | off: limits are enforced |
//! | [`per_service`](ThrottleLayer::per_service) | off |
//! | [`named`](ThrottleLayer::named) | `"throttle"` |
//! | [`seed`](ThrottleLayer::seed) | random |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept_ratio;
mod concurrency;
mod future;
mod handle;
mod keyed;
mod layer;
mod limit;
mod queue;
mod rate;
mod service;
mod sync;

pub use accept_ratio::AcceptRatioLimit;
pub use buttress_control::{
    AcceptRatio, Adapt, Aimd, Codel, Gradient, Gradient2, Rate, Rates, Ratio, Sample, Slack, Trend,
    Vegas,
};
pub use concurrency::{Adaptive, ConcurrencyLimit, Fixed, Regulate};
pub use future::{ResponseFuture, ThrottleGuard};
pub use handle::{ThrottleHandle, ThrottleSnapshot};
pub use keyed::Keyed;
pub use layer::{IgnoreOutcome, ThrottleLayer};
pub use limit::{ConcurrencyBased, Limit, LimitTemplate, Queue, Queued, RateBased, Seeded};
pub use rate::{Cost, RateLimit, UnitCost};
pub use service::Throttle;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Rate limits, concurrency limits (bulkheads), adaptive limits and client-side throttling, with a
//! bounded queue, for any tower service.
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
//! On a server, place the layer around the handlers and inside the deadline. Calls that the server
//! cannot serve in time are then rejected at once, and the admitted calls stay fast.
//!
//! On a client, place the layer around the attempts and inside the retry. The retries of all
//! callers together then stay within the limit. Place the layer outside the deadline of a single
//! attempt. Otherwise a wait that exceeds this deadline would count as the service's own timeout.
//!
//! Do not use a limit to order calls, or as a circuit breaker. A limit takes load off a slow
//! service, not off a service that is down.
//!
//! | limit | bounds | learns from outcomes |
//! |---|---|---|
//! | [`concurrency`](ThrottleLayer::concurrency) | calls at a time | no |
//! | [`rate`](ThrottleLayer::rate), [`rates`](ThrottleLayer::rates) | calls per unit of time | no |
//! | [`adaptive`](ThrottleLayer::adaptive) | calls at a time, set by a law | latency, and timeouts |
//! | [`accept_ratio`](ThrottleLayer::accept_ratio) | calls sent per accepted call | whether the service accepts them |
//!
//! [`keyed`](ThrottleLayer::keyed) gives each key a limit of its own, and
//! [`per`](ThrottleLayer::per) takes a key such as the host of an HTTP request.
//!
//! # Permits
//!
//! A call takes its permit in `call` and holds the permit until its response has ended. In `Http`
//! mode the response ends with the body's last frame, its error or its drop. With
//! [`until_head`](ThrottleLayer::until_head), or in `Plain` mode, the permit is free when the
//! response is there. If a layer is applied twice in a stack, each call takes two permits.
//!
//! # What limits learn from
//!
//! A call is a *sample* of an [`adaptive`](ThrottleLayer::adaptive) limit if at least half of the
//! limit was in use when the call was admitted. The time of a sample runs from the permit to the
//! response head. The time that the service waited for the body of the request is not part of the
//! sample. So the speed at which a caller sends its request or reads its response never changes the
//! limit.
//!
//! A [spare](#spare-calls) call is never a sample.
//!
//! | the call ended with | sample |
//! |---|---|
//! | a success, or a permanent failure that a server answered with | answered |
//! | a timeout, here or further in, or an answer that asks for less load | a sign of overload |
//! | its caller leaving before the deadline, after longer than an unloaded call takes ([`Adapt::unloaded_rtt`]) | answered after that time |
//! | its caller leaving earlier, any other failure, a rejection by a layer below, an error that no server sent | none |
//!
//! If most callers leave in this way, after longer than an unloaded call takes, the time to leave is
//! their own patience, however long the service's queue is. So once 100 more calls were given up in
//! this way than answered, each further one is a sign of overload, until more calls are answered
//! again. While the law does not know the unloaded latency, the latest answer stands for it.
//!
//! A call is no sample either if the head comes, or the time is up, while the service still waits
//! for the body, or after the body failed. That time was the caller's. There is one exception: an
//! answer that asks for less load always counts. A body that the service dropped counts as read to
//! its end.
//!
//! In `Http` mode the layer watches the request body if the call may be a sample or the limit is an
//! accept ratio. The body's type must be able to hold another body: see
//! [`Propagate::watch_upload`](buttress_core::Propagate::watch_upload). Watching costs two
//! allocations. A `hyper::body::Incoming` that has not ended cannot be watched, and makes no
//! sample: box it. A body of any other type, and everything in `Plain` mode, counts as part of the
//! request.
//!
//! An [`accept_ratio`](ThrottleLayer::accept_ratio) limit counts all its calls:
//!
//! | the call ended with | counts as |
//! |---|---|
//! | a success, or a permanent failure that a server answered with | request and accepted |
//! | any other failure, or a timeout | request |
//! | its caller leaving before the deadline, and late | request |
//! | its caller leaving earlier, a rejection by a layer below, an error that no server sent, a failure of the request body, or a timeout while the service waited for the body | nothing |
//!
//! A call that has not ended counts as a request when it is *late*: in flight for twice the usual
//! latency. The limit learns the usual latency from accepted calls. Until the window holds an
//! accepted call, at least 250 ms are usual ([`AcceptRatio::initial_latency`]). So a first burst is
//! sent whole, and a service that hangs from the start is shed from after 500 ms.
//!
//! "An error that no server sent" is a [permanent](buttress_core::Verdict::Permanent) error that
//! the mode knows to come from this side
//! ([`Classify::is_callers_own`](buttress_core::Classify::is_callers_own)). Examples: the caller
//! aborted its upload, the request could not be built, a certificate is not trusted. In `Plain`
//! mode an `Err` is the service's answer.
//!
//! # Queues
//!
//! By default no call waits. With [`queue`](ThrottleLayer::queue), a limited number of calls wait
//! for a permit or for the cells of a rate. A rate is counted in cells: a call takes one cell, or its
//! [`cost`](ThrottleLayer::cost), and cells come back at the rate, up to the burst. The queue of a
//! rate works like the queue for permits:
//!
//! - The oldest waiter is next. The queue takes the permit or the cells for that waiter, so no
//!   later call can take them. A waiter that needs more cells than there are is not overtaken.
//! - Higher [criticalities](buttress_core::Criticality) go first. In a full queue, the latest
//!   waiter of the lowest criticality makes room for a call of a higher criticality.
//! - The queue takes nothing ahead of time, so a waiter that leaves before its grant costs the
//!   others nothing.
//! - A waiter leaves at the ambient deadline, and after [`Queue::max_wait`].
//! - If the expected wait exceeds the time that a call has, the call is rejected at once. For a
//!   rate the expected wait is exact: the cells of the waiters ahead and the call's own, at the
//!   rate; with several rates, at the slowest. For a permit the expected wait is an estimate: the
//!   call's position times the mean time between the latest releases. The mean weighs each release
//!   by an eighth, and is reset when the queue runs empty. While the wait is unknown, no call is
//!   rejected for it. At a rate of 0 the wait is unknown.
//! - [`Queue::codel`] sheds calls that waited too long in a standing queue. While the queue stands,
//!   [`Queue::adaptive_lifo`] serves the latest call first.
//! - A change of the limit or of the rate reaches all waiters at once. A waiter that costs more
//!   than a lowered burst is rejected.
//!
//! If a request announces a deadline, the layer reduces the announced time by the wait. If nothing
//! is left, the call is rejected as if its deadline had passed in the queue.
//!
//! Cells come with time, so a timer wakes the queue when the first waiter's cells are there. Each
//! runtime in which calls wait has a timer of its own. The timer does not depend on any call being
//! polled. The timer may fire a millisecond late, as tokio's timers do, but cells count from the
//! time at which they were due.
//!
//! A call that waits for a rate, or under a deadline or a `max_wait`, must be polled within a tokio
//! runtime that has its time driver enabled, as tokio's own timers must.
//!
//! # Criticality
//!
//! The criticality of a call is that of its request: in `Http` mode the extension
//! [`Criticality`](buttress_core::Criticality) or the header `x-criticality`. Otherwise the ambient
//! criticality applies. The layer makes the criticality ambient for everything inside, and writes
//! it to the request.
//!
//! # Spare calls
//!
//! A hedge is a [spare](buttress_core::Attempt::spare) call: another call for the same request is
//! running. The limit admits a spare call only if a permit or its cells are free now, and due to no
//! waiter. Otherwise the limit refuses the call at once, as `full` or `rate`, also if the layer has
//! a queue. So a spare call never waits, and never takes the place of a waiter.
//!
//! A refused spare call counts as [`spare_refused`](ThrottleHandle::spare_refused), and not as
//! rejected. An accept ratio forgets the refused call, so that hedges which were never sent do not
//! lower the share of the calls that are. An admitted spare call holds its permit or cells like any
//! call.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's: a full limit does not make the layer unready, and an idle
//! clone of the service holds no permit. The instance that was polled ready is the instance that is called. A
//! call that waits takes the instance along. A rejected call gives back what the instance had
//! reserved.
//!
//! # Errors
//!
//! The error type is the inner service's. A rejected call ends with a
//! [`Rejection`](buttress_core::Rejection): as an `Err` in `Plain` mode (the error must be
//! `From<Rejection>`), as a response in `Http` mode.
//!
//! | reason | when | HTTP | gRPC |
//! |---|---|---|---|
//! | `Overloaded` | no permit, no place in the queue, too long a wait for a permit, or too few calls accepted | 503 | 14 |
//! | `RateLimited` | the rate is used up, its queue is full, or the wait for the rate is too long | 429 | 8 |
//! | `NeverAdmissible` | the call costs more than the rate ever holds | 413 | 8 |
//! | `DeadlineExceeded` | the deadline passed in the queue | 504 | 4 |
//!
//! `RateLimited` carries a retry delay: the time that the calls now waiting and this call take. At
//! a rate of 0 it carries none. `Overloaded` carries the
//! [`retry_after`](ThrottleLayer::retry_after) of a concurrency limit, if that option is set.
//!
//! If user code panics (a law, a classification, a waker, a key), no permit is lost and every other
//! call is still woken. The panic then continues, except that of a waker which a timer wakes.
//!
//! # Cancellation
//!
//! Dropping the response future or body returns its permit, or its place in the queue, at once. If
//! a permit was granted but not yet used, it goes to the next waiter. So do the cells of a
//! rate, if none were granted since and the rate was not changed. Otherwise the cells are lost,
//! because the burst may have been full without them. Cells of a call that was made are never
//! returned. Nothing is spawned.
//!
//! A permit that is held until the body ends is held for as long as the caller takes to read the
//! body. A client that stops reading holds its permit, past any deadline, until its connection is
//! closed. Close such connections, or use [`until_head`](ThrottleLayer::until_head). An upgraded
//! connection (101) is not counted, because its response ends with the head. Work that continues
//! after its call is dropped, in a task or a thread pool, continues without a permit.
//!
//! # Sharing
//!
//! Clones of a layer, and all services it makes, share a limit with its queue and counters. With
//! [`per_service`](ThrottleLayer::per_service) each service has its own limit, queue and counters,
//! which its clones share, and the layer's own handle counts nothing. The options
//! [`queue`](ThrottleLayer::queue), [`keyed`](ThrottleLayer::keyed), [`per`](ThrottleLayer::per),
//! [`max_keys`](ThrottleLayer::max_keys) and [`seed`](ThrottleLayer::seed), and after `keyed` or
//! `per` also [`cost`](ThrottleLayer::cost), return a layer with fresh state. Clones and handles made before
//! keep the former state. Every other option changes this layer only, and keeps sharing the limit.
//!
//! The setters of a [`ThrottleHandle`] change a limit, a rate or a queue while calls run, also for
//! services made before. A running call keeps its permit, and a waiting call its place.
//!
//! While no call waits, taking and returning a permit is one atomic operation each, and so is
//! taking the cells of a rate. Waiting calls, and calls that come while others wait, take a lock.
//! No lock is held while a call is woken.
//!
//! # Fleets
//!
//! With [`fleet`](ThrottleLayer::fleet), the replicas of a service keep a rate together, through a
//! store such as Redis. Each replica leases cells ahead: 20 % of the burst at most, for 200 ms. So a
//! busy key asks the store once for many calls, and all other calls take a cell with an atomic
//! operation.
//!
//! ```
//! use buttress_testkit::FakeStore;
//! use buttress_throttle::{Fleet, Rate, ThrottleLayer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let store = FakeStore::new();
//! let layer = ThrottleLayer::rate(Rate::per_second(100).burst(200))
//!     .fleet(Fleet::new(store, 12)) // 12: the most replicas there will be
//!     .keyed(|tenant: &u32| Some(*tenant))
//!     .named("per-tenant");
//! # drop(layer.handle());
//! # }
//! ```
//!
//! In any time `t`, all replicas together admit at most `rate · t + burst` cells while the store
//! lives. Replicas with an old and a new rate can ask in turn: the cells that were taken stay taken.
//!
//! A call that finds no cells waits for the store: for its time limit, 25 ms, and not beyond the
//! deadline. Such calls need no queue. Up to 1,024 of them wait for each key, and together for no
//! more cells than the store can hold.
//!
//! If a grant falls short, calls of as many cells or more are denied without a request until those
//! cells can be there. A call of fewer cells is denied until its own can be there. Both are denied
//! for at least 25 ms. A [`queue`](ThrottleLayer::queue) holds denied calls meanwhile, and the time
//! limit of a call in the queue begins with the request that follows. There is no order between the
//! replicas. The wait that a rejection carries is a lower bound, because other replicas may take the
//! cells.
//!
//! While the store is away, [`WithoutStore`] decides: each replica admits its part of the rate, all
//! calls, or none. The next request of the key tells the store of these cells. If no call uses the
//! key any more, a look for unused keys does so, for 64 keys at a time. A key is dropped once nothing
//! is held, owed or expected.
//!
//! Each request to the store runs in a task of its own, which ends within twice the store's time
//! limit. So a caller that leaves loses no cells. If the runtime of that task stands still, the next
//! call gives the request up after four time limits. Outside of a runtime the store counts as away.
//!
//! [`advertise_quota`](ThrottleLayer::advertise_quota) tells the rate of the fleet. The remaining
//! cells are those held here and those that the last grant left in the store.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | trace | `throttle.queued` | `instance`, `criticality` |
//! | debug | `throttle.rejected` | `instance`, `reason`, `criticality`, `retry_after`, `observed` |
//! | trace | `throttle.spare_refused` | `instance`, `reason`, `criticality`, `retry_after`, `observed` |
//! | warn | `throttle.store_lost` | `instance`, `error`, `cause`, `policy` |
//! | info | `throttle.store_regained` | `instance`, `away`, `debt` |
//! | warn | `throttle.state_lost` | `instance` |
//! | trace | `throttle.leased` | `instance`, `granted`, `want` |
//!
//! `reason` is `full`, `queue_full`, `displaced`, `expected_wait`, `max_wait`, `codel`, `deadline`,
//! `rate`, `cost`, `accept_ratio` or `store`. `rate` means a rate without a queue, or a spare call.
//! `store` means that the store of a [fleet](#fleets) is away.
//!
//! `throttle.store_lost` reports the first key that goes away from the store, and
//! `throttle.store_regained` the last that returns. `throttle.state_lost` comes once a second at most.
//!
//! The refusal of a spare call is no failure, because the call that it accompanies goes on. So the
//! event is at trace, and at debug there is one event for each rejected call.
//!
//! # Metrics
//!
//! A [`ThrottleHandle`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading has
//! the name of the layer as its instance.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.throttle.admitted` | counter | `{call}` | `criticality` | Calls that the limit admitted. |
//! | `buttress.throttle.rejected` | counter | `{call}` | `criticality` | Calls that the layer rejected, or would have rejected if it only observes. |
//! | `buttress.throttle.spare_refused` | counter | `{call}` | – | Spare calls, such as hedges, that the layer refused, or would have if it only observes. |
//! | `buttress.throttle.abandoned` | counter | `{call}` | – | Calls that their caller dropped while they waited in the queue. |
//! | `buttress.throttle.queued` | gauge | `{call}` | – | Calls that wait, of all keys together. |
//! | `buttress.throttle.in_flight` | gauge | `{call}` | – | Calls that hold a permit, of all keys together. |
//! | `buttress.throttle.limit` | gauge | `{call}` | – | Permits that there may be. |
//! | `buttress.throttle.keys` | gauge | `{key}` | – | Keys in use. |
//! | `buttress.throttle.store.trips` | counter | `{trip}` | – | Requests to the store that have ended. |
//! | `buttress.throttle.store.granted` | counter | `{cell}` | – | Cells that the store granted. |
//! | `buttress.throttle.store.denied_trips` | counter | `{trip}` | – | Requests for which the store granted less than wanted. |
//! | `buttress.throttle.store.expired` | counter | `{cell}` | – | Held cells that ended before a call took them. |
//! | `buttress.throttle.store.away_admitted` | counter | `{cell}` | – | Cells that were admitted without the store. |
//! | `buttress.throttle.store.losses` | counter | `{loss}` | – | Requests at which the store had lost the state of a rate. |
//! | `buttress.throttle.store.errors` | counter | `{error}` | `kind` | Requests to the store that failed. |
//! | `buttress.throttle.store.debt` | gauge | `{cell}` | – | Cells admitted without the store that the store does not know of yet. |
//! | `buttress.throttle.store.keys_away` | gauge | `{key}` | – | Keys that are away from the store. |
//! | `buttress.throttle.store.trip_time_max` | gauge | `s` | – | The longest time of a request to the store so far. |
//!
//! The label `criticality` is a [`Criticality`](buttress_core::Criticality), and each of the four has
//! a reading. `in_flight` has a reading if the limit has permits, `limit` if there is one for all
//! calls, `keys` if each key has its own, and `store` if a [fleet](#fleets) keeps the rate. `kind` is
//! `timeout`, `unavailable`, `rejected` or `corrupt`. No key is a label, because each would be a time series.
//!
//! Each call that has a key is in one of `admitted`, `rejected`, `spare_refused` and `abandoned`, or
//! still in `queued`. There is an exception: if a deadline leaves no time to announce after the wait,
//! the call is in `admitted` and in `rejected`. If the limit has permits, `admitted - in_flight` calls
//! have ended.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`queue`](ThrottleLayer::queue) | 0: a call that finds no room is rejected |
//! | [`Queue::max_wait`] | the ambient deadline; without a deadline a wait may have no end |
//! | [`Queue::codel`], [`Queue::adaptive_lifo`] | off |
//! | [`until_head`](ThrottleLayer::until_head) | off: a permit is held until the body has ended |
//! | [`cost`](ThrottleLayer::cost) | 1 cell per call |
//! | [`advertise_quota`](ThrottleLayer::advertise_quota) | off |
//! | [`retry_after`](ThrottleLayer::retry_after) | none |
//! | [`max_keys`](ThrottleLayer::max_keys) | 65,536 |
//! | [`classify`](ThrottleLayer::classify) | the mode's |
//! | [`observe`](ThrottleLayer::observe) | off: limits are enforced |
//! | [`per_service`](ThrottleLayer::per_service) | off |
//! | [`named`](ThrottleLayer::named) | `"throttle"` |
//! | [`seed`](ThrottleLayer::seed) | random |
//!
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept_ratio;
mod concurrency;
mod fleet;
mod future;
mod handle;
mod keyed;
mod layer;
mod limit;
mod queue;
mod rate;
mod service;

pub use accept_ratio::AcceptRatioLimit;
pub use buttress_control::{
    AcceptRatio, Adapt, Aimd, Codel, Gradient, Gradient2, Rate, Rates, Ratio, Sample, Slack, Trend,
    Vegas,
};
pub use buttress_state::{QuotaStore, StoreErrorKind};
pub use concurrency::{Adaptive, ConcurrencyLimit, Fixed, Regulate};
pub use fleet::{Fleet, FleetCells, FleetOptions, FleetSnapshot, LocalRate, WithoutStore};
pub use future::{ResponseFuture, ThrottleGuard};
pub use handle::{ThrottleHandle, ThrottleSnapshot};
pub use keyed::Keyed;
pub use layer::{IgnoreOutcome, ThrottleLayer};
pub use limit::{
    ConcurrencyBased, Limit, LimitPerKey, LimitTemplate, LocalLimit, Queue, Queued, RateBased,
    Seeded,
};
pub use rate::{Cells, Cost, RateLimit, UnitCost};
pub use service::Throttle;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

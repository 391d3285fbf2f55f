//! Keyed ordering for tower services: one call at a time per key, in arrival order or with the
//! latest call winning.
//!
//! ```
//! use buttress_core::BoxError;
//! use buttress_order::OrderLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! // One write at a time per account, in the order of arrival. Others wait.
//! let accounts = ServiceBuilder::new()
//!     .layer(OrderLayer::serial(|(account, _): &(u32, i64)| Some(*account)).queue(16))
//!     .service_fn(|(_, amount): (u32, i64)| async move { Ok::<_, BoxError>(amount) });
//! let (first, second) =
//!     tokio::join!(accounts.clone().oneshot((7, 10)), accounts.clone().oneshot((7, -3)));
//! assert_eq!((first.unwrap(), second.unwrap()), (10, -3));
//! # }
//! ```
//!
//! **The layer gives order, not atomicity.** A call that was superseded, dropped or timed out may
//! have acted already, in part or as a whole. The next call of the key then begins. A service that
//! needs all or nothing needs a transaction.
//!
//! # When to use it
//!
//! | constructor | a call that finds another call of its key | for |
//! |---|---|---|
//! | [`serial`](OrderLayer::serial) | waits for its turn | writes of a user, an account, a document |
//! | [`latest`](OrderLayer::latest) | ends the other call, then begins | search-as-you-type, "save" pressed twice |
//! | `latest` with [`overlapping`](OrderLayer::overlapping) | begins at once, and ends the other call | reads without side effects |
//!
//! On a client, place the layer inside dedup and outside the retry, so that a turn covers all
//! attempts of a call. Inside a retry, a further attempt of an old call would come as a new call:
//! behind the waiters, or superseding a newer call.
//!
//! A dedup of buttress around latest-wins ends all callers of a superseded flight as superseded. A
//! coalescer that lets them call again would supersede the newer call.
//!
//! On a server, place the layer inside the deadline and **outside the throttle**. Otherwise calls
//! that wait for their turn hold permits.
//!
//! Do not use the layer as a concurrency limit. A throttle with one permit per key is different:
//! it admits critical calls first and sheds the others. This layer ignores the criticality.
//!
//! # Turns
//!
//! A key has one call at a time, from its turn to the end of its response. In `Http` mode the
//! response ends with the body's last frame, its error or its drop. In `Plain` mode, and with
//! [`until_head`](OrderLayer::until_head), the turn ends with the outcome of the call. A request
//! without a key is not ordered.
//!
//! The order of arrival is the order of `call`, not of the polls that follow. A turn passes on
//! when its call succeeds, fails, panics or is dropped.
//!
//! **Serial.** The calls of a key wait in the order of arrival, whatever their criticality. At most
//! [`queue`](OrderLayer::queue) calls wait per key. A further call is rejected at once.
//!
//! **Latest wins.** A call supersedes all earlier calls of its key, for good, even if the new call
//! leaves before it has begun:
//!
//! - A waiting call ends with `Superseded` and never begins.
//! - The running call is woken. At its next poll the layer drops the work before it is polled, and
//!   the call ends with `Superseded`.
//! - A response whose head is out delivers no further frame, whatever is buffered: its body ends
//!   with the rejection.
//! - The new call begins when the older work is gone. With `overlapping`, it begins at once.
//!
//! So once `call` has been made, no response of an earlier call passes the layer.
//!
//! # Futures that are not polled
//!
//! The layer drives no call by itself. A call that holds the turn and is not polled keeps the turn
//! until it is dropped:
//!
//! - A serial call that got the turn and is not polled blocks its key. The waiters behind it leave
//!   at their deadlines.
//! - A superseded call that is not polled delays the newest call, up to the deadline of the newest.
//!   With `overlapping` it delays no call.
//! - With latest-wins, a call that got the turn and has not begun loses the turn to a newer call.
//!
//! A body counts as such a future: a client that stops reading a response holds the turn of its
//! key. Limit the time with a deadline outside this layer, or use `until_head`.
//!
//! # Calls inside calls
//!
//! A call that is made inside a call of the same key, and is awaited there, waits for itself. In
//! serial order the inner call ends with `DeadlineExceeded` at its deadline, and without a deadline
//! never. With latest-wins the inner call supersedes the call around it, which drops both.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's. A call that begins at once calls the instance that was
//! polled ready. A call that waits gives back what the instance had reserved, and waits with a clone
//! that has reserved nothing. When the turn comes, the call awaits the clone's readiness, and calls
//! that clone. Otherwise the waiters of a key could hold all permits of an inner limit, while the
//! running call needs one for its retry. A rejected call gives back the reservation too.
//!
//! # Errors
//!
//! The error type is the inner service's. A rejected call ends with a
//! [`Rejection`](buttress_core::Rejection): as an `Err` in `Plain` mode (the error must be
//! `From<Rejection>`), as a response in `Http` mode.
//!
//! | reason | when | HTTP | gRPC |
//! |---|---|---|---|
//! | `Superseded` | a later call of the key came; never sent again by a retry | 409 | 14, with the pushback `-1` |
//! | `Overloaded` | the queue of the key is full, or a [spare](buttress_core::Attempt::spare) call would have to wait or to supersede | 503 | 14 |
//! | `DeadlineExceeded` | the ambient deadline passed before the call began | 504 | 4 |
//!
//! A body that is superseded ends with trailers of status 14 over gRPC, and with the `Rejection` as
//! its error over HTTP.
//!
//! A call whose deadline has passed when it arrives neither waits nor supersedes. If a request
//! announces a deadline, the layer reduces the announced time by the wait.
//!
//! # Cancellation
//!
//! Dropping a response future or body passes its turn on, or leaves the queue, at once. A waiter that
//! got the turn and is dropped passes the turn on. The inner call is dropped before its turn ends.
//! Nothing is spawned. Work that continues after its call is dropped, in a task or a thread pool,
//! continues beside the next call.
//!
//! If user code panics (a key, a waker, the inner service, the drop of its future), the turn still
//! passes on once the response future is dropped. The panic then continues.
//!
//! # Sharing
//!
//! Clones of a layer, and all services it makes, share the turns. With
//! [`per_service`](OrderLayer::per_service) each service has turns and counters of its own, which
//! its clones share, and the layer's own handle counts nothing. The options
//! [`queue`](OrderLayer::queue), [`max_keys`](OrderLayer::max_keys) and
//! [`overlapping`](OrderLayer::overlapping) return a layer with fresh state. Clones and handles made
//! before keep the former state. Every other option changes this layer only.
//!
//! [`OrderHandle::set_max_queued`] changes the queues while calls run, also for services made before.
//! Calls that wait already stay in the queue.
//!
//! A key is in use while a call runs or waits on it. The layer drops all other keys when later calls
//! come or [`keys`](OrderHandle::keys) is called, and keeps no task and no timer for them. While
//! [`max_keys`](OrderLayer::max_keys) keys are in use, all further keys share one order. Their calls
//! are then ordered more than needed, and never less. With latest-wins they supersede each other.
//!
//! A call that finds no other call of its key takes and passes its turn in one atomic operation
//! each. Only calls that meet take the lock of their key. To find the key, each call takes the lock
//! of a part of the table. No user code runs under these locks, except the `Eq` of the key.
//!
//! A call that waits under a deadline must be polled within a tokio runtime that has its time driver
//! enabled, as tokio's own timers must.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | trace | `order.waited` | `instance` |
//! | debug | `order.superseded` | `instance` |
//! | debug | `order.full` | `instance` |
//! | debug | `order.expired` | `instance` |
//! | trace | `order.spare_refused` | `instance` |
//!
//! `order.waited` means that a call begins that had to wait. `order.expired` means that the deadline
//! passed before the call began.
//!
//! # Metrics
//!
//! An [`OrderHandle`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading has
//! the name of the layer as its instance.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.order.calls` | counter | `{call}` | – | Calls, rejected calls and calls without a key included. |
//! | `buttress.order.rejected` | counter | `{call}` | – | Calls and bodies that the layer ended. |
//! | `buttress.order.superseded` | counter | `{call}` | – | Calls and bodies that a later call of their key ended. |
//! | `buttress.order.full` | counter | `{call}` | – | Calls that found the queue of their key full. |
//! | `buttress.order.expired` | counter | `{call}` | – | Calls whose deadline passed before they began. |
//! | `buttress.order.spare_refused` | counter | `{call}` | – | Spare calls, such as hedges, that were refused because their key had a call. |
//! | `buttress.order.queued` | gauge | `{call}` | – | Calls that wait for a turn, of all keys together. |
//! | `buttress.order.keys` | gauge | `{key}` | – | Keys with a running or a waiting call. |
//!
//! `rejected` is `superseded + full + expired`. The layer counts neither the calls that end with an
//! outcome of the service nor those that are dropped. No key is a label, because each would be a time
//! series.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`queue`](OrderLayer::queue) | 64 waiting calls per key |
//! | [`max_keys`](OrderLayer::max_keys) | 65,536 |
//! | [`until_head`](OrderLayer::until_head) | off: a turn ends with the body |
//! | [`overlapping`](OrderLayer::overlapping) | off: the newest call waits until older work is gone |
//! | [`per_service`](OrderLayer::per_service) | off |
//! | [`named`](OrderLayer::named) | `"order"` |
//! | longest wait | the ambient deadline; without a deadline a wait may have no end |
//!
//! # Differences from the field
//!
//! p-queue orders waiting calls by priority. This layer does not, and ignores the criticality,
//! because the order of arrival is its purpose. Put a throttle inside for priorities among keys.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod future;
mod guard;
mod handle;
mod lane;
mod layer;
mod metrics;
mod policy;
mod service;
mod settings;

pub use future::ResponseFuture;
pub use guard::OrderGuard;
pub use handle::{OrderHandle, OrderSnapshot};
pub use layer::OrderLayer;
pub use policy::{Latest, Overlapping, Serial};
pub use service::Order;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

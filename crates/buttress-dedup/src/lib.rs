//! A layer that makes one call of many: who asks for the same at the same time gets the answer of one
//! flight, and who asks a little later one that was kept.
//!
//! ```
//! use std::time::Duration;
//!
//! use buttress_core::BoxError;
//! use buttress_dedup::{DedupLayer, Cache};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let layer = DedupLayer::keyed(|id: &u32| Some(*id)).cache(Cache::new(Duration::from_secs(10)));
//! let handle = layer.handle();
//! let users = ServiceBuilder::new()
//!     .layer(layer)
//!     .service_fn(|id: u32| async move { Ok::<_, BoxError>(format!("user {id}")) });
//! assert_eq!(users.clone().oneshot(7).await.unwrap(), "user 7");
//! assert_eq!(users.oneshot(7).await.unwrap(), "user 7");
//! assert_eq!((handle.leaders(), handle.cache_hits()), (1, 1));
//! # }
//! ```
//!
//! # When to use it
//!
//! On a client, inside the deadline of the caller and outside of its retry, so that one set of attempts
//! serves all who wait; on a server around handlers that are dear and asked for by many. For calls that
//! change nothing: whoever joins a flight is answered as of when the flight began, and a kept answer is
//! as old as it is.
//!
//! Not in place of a limit. It hides the backpressure of what is inside, for it is always ready, so the
//! standard order has a bounded throttle further in.
//!
//! # Keys
//!
//! [`DedupLayer::new`] asks the mode: in `Plain` mode requests are the same when they are equal, in
//! `Http` mode when they are safe to share and would be answered alike. [`DedupLayer::keyed`] asks a
//! function of yours. **Whatever an answer depends on belongs into its key, and who asks is the first
//! of it.** A request without a key goes alone.
//!
//! # Flights
//!
//! The first call of a key starts a flight, and the others join it. The flight belongs to none of them:
//! its work lies in a slot, and a caller that is polled while the work has been woken drives it. A wake of
//! the work wakes the caller that drove last and one deputy with another waker. So a driver that is
//! dropped, or alive and not polled, delays no other caller.
//!
//! If neither of the two is polled within 10 ms, all other callers are woken, once. So callers that are
//! held and not polled, however many, delay the others by 10 ms at most. The children of one
//! `FuturesUnordered` are such callers while its task does something else. The same holds for the readers
//! of a shared body. It takes a tokio runtime with a time driver where three or more callers wait.
//!
//! A flight takes no more callers once the [deadline](buttress_core::Deadline) of a caller on board has
//! passed: that caller has waited in vain for as long as it could. The next call of the key starts another
//! flight, and those on board keep their places. So a call that hangs lets down the callers that come
//! within one patience, and no others. The same holds for a service that does not become ready, and for a
//! shared body that makes no progress. A caller without a deadline that leaves says nothing of the flight.
//!
//! If a call takes longer than the callers' patience, a further call begins once per patience, and only
//! the callers that join late enough are served. If it takes twice as long, none is.
//!
//! It runs under ambient values of its own: the latest deadline and the highest criticality of those who
//! wait, and the attempt of the first. A layer further in that noted the deadline when it was called
//! keeps to that one; if it ends the call for it, whoever has more time goes again.
//!
//! A deadline that ends at a caller's response head (`until_head`) is not the flight's. If it ends the wait
//! of a caller, the flight takes no more callers. While that caller is held and not polled, the flight does
//! not know that it has passed.
//!
//! A response of a mode may be on its way still when its head is there, as an HTTP body is. Then those who
//! wait read it together, each at its own pace, and new callers join until it is whole. If a body turns out
//! to be longer than the mode's limit (in `Http` mode 1 MiB), the flight takes no new callers. Those who
//! have a head get the whole body, within a window of that size. A caller that has joined and does not come
//! for its head in time makes a call of its own.
//!
//! A call that is made from inside a flight, on the same stack, for the flight's own key goes alone: it
//! would wait for itself.
//!
//! # What is kept
//!
//! With [`keep`](DedupLayer::cache) successes are kept for a time, and others if one asks for it: see
//! [`Cache`]. Failures that another attempt might mend, timeouts and rejections of layers never are. A hit
//! takes neither a flight nor the inner service. What is kept is bounded in number and bytes, and is forgotten
//! by [`DedupHandle::invalidate`], together with what a call in flight is about to bring. A response is kept
//! when its body has been read to its end. A request says how fresh a kept answer must be
//! for it with a [`WantedFreshness`](buttress_core::WantedFreshness); in `Http` mode that is its `Cache-Control`.
//!
//! A flight that another has replaced keeps its answer only if it lands while the other one still flies.
//! If a read of a [`Store`] outlasts a caller's patience, later flights give the store a head start of 10 ms
//! and then call the service as well, until the store answers first again.
//!
//! # Changes
//!
//! In `Http` mode a request with an unsafe method that succeeds outdates what is kept of its target, and
//! closes the flights of its target to later callers, where the key is the mode's own. So a call that is
//! made after its outcome is known is never answered as of before. It is so without
//! [`keep`](DedupLayer::cache) too, and with a [`KeyOf`](buttress_core::KeyOf) that says what changes. A call
//! that comes while the change is still under way may join a flight from before it: which of the two
//! the service sees first is not known.
//!
//! # Readiness
//!
//! `poll_ready` is always ready and does not ask the inner service. A hit and joining a flight never wait
//! for it; a flight awaits its readiness, on an instance of its own, and calls that very one.
//!
//! # Errors
//!
//! The error type is the inner service's. An error is for one caller unless it can be shared: with
//! [`share_errors`](DedupLayer::share_errors) by cloning it, with
//! [`share_error`](DedupLayer::share_errors_with) as you say. Otherwise one of the others makes the next call,
//! and the rest wait for that one: while the service is down, the last of many waits for as many calls,
//! or until its deadline. So share errors where you can: one that cannot be cloned, as hyper's, can be
//! once it is in an `Arc`, with `.map_err(Arc::new)` below this layer.
//!
//! A panic, in the service or in the key's function, becomes a [`Rejection`](buttress_core::Rejection) for
//! `Panicked` (500 in HTTP, 13 in gRPC) for everybody who waited, whoever met it included, unless
//! [`resume_panics`](DedupLayer::resume_panics) lets it go on there. The next call starts afresh. A call
//! that goes alone panics as it would without the layer.
//!
//! # Cancellation
//!
//! Dropping the response future or body leaves the flight; when the last has left, the work is dropped at
//! once. Work that is to be finished for nobody, to fill a cache say, must be a task of its own: spawn it in
//! the service further in. Nothing is spawned here, but for a refresh in the background where
//! [`stale_while_revalidate`](Cache::stale_while_revalidate) or [`early_refresh`](Cache::early_refresh) asks for it.
//!
//! # Sharing
//!
//! Clones of a layer and all services it makes share flights and answers, those over the same type of
//! service: give two different services that answer the same keys a layer each. Responses are shared by
//! cloning them in `Plain` mode. No lock is held while anything of yours runs, but for `Hash` and `Eq` of a
//! key. Keys are hashed with a seed; whoever can choose a great many of them may still find some that
//! collide.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | trace | `dedup.joined` | `instance` |
//! | trace | `dedup.cache_hit` | `instance`, `stale` |
//! | debug | `dedup.not_shared`: the response is for one caller alone | `instance` |
//! | debug | `dedup.refresh_started`: a refresh began | `instance` |
//! | debug | `dedup.error_replaced`: a kept answer stands for a failure | `instance` |
//! | debug | `dedup.rejected`: the request asked for a kept answer only | `instance`, `reason` |
//! | error | `dedup.panicked` | `instance` |
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`keep`](DedupLayer::cache) | nothing is kept |
//! | [`share_errors`](DedupLayer::share_errors) | errors are not shared |
//! | [`max_bytes`](DedupLayer::max_shared_bytes) | 64 MiB of responses on their way |
//! | [`resume_panics`](DedupLayer::resume_panics) | off |
//! | [`per_service`](DedupLayer::per_service) | off |
//! | [`named`](DedupLayer::named) | `"dedup"` |
//! | [`Cache::negative_ttl`] | failures are not kept |
//! | [`Cache::jitter`] | 10 % |
//! | [`Cache::stale_while_revalidate`], [`Cache::stale_if_error`] | none |
//! | [`Cache::early_refresh`] | off |
//! | [`Cache::refresh_timeout`] | 30 s |
//! | [`Cache::refresh_backoff`] | 1 s to 60 s, give or take 20 % |
//! | [`Cache::max_entries`], [`Cache::max_bytes`] | 10,000 and 64 MiB |
//! | [`Cache::classify`] | the mode's |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod call;
mod flight;
mod handle;
mod key;
mod layer;
mod service;
mod settings;
mod share_error;
mod state;
mod sync;

pub use buttress_control::{Backoff, EarlyRefresh, Jitter, Ratio};

pub use cache::{Cache, CacheEntry, CachedOutcome, Memory, NoCache, OpenStore, Store};
pub use call::{ResponseFuture, SharedService};
pub use flight::FlightGuard;
pub use handle::DedupHandle;
pub use key::KeySource;
pub use layer::DedupLayer;
pub use service::Dedup;
pub use share_error::{ClonedErrors, MappedErrors, ShareError, UnsharedErrors};
pub use state::DedupSnapshot;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

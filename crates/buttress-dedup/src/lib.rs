//! Request coalescing (single flight) with an optional response cache.
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
//! - On a client: inside the caller's deadline and outside its retry, so that a single set of attempts serves
//!   all waiting callers.
//! - On a server: around expensive handlers that many callers request at once.
//!
//! Use it for calls that change nothing. A follower gets an answer as of the start of its flight, and a
//! cached answer is as old as its entry.
//!
//! Do not use it in place of a limit. The layer is always ready, so it hides the backpressure of the inner
//! service. The standard order has a throttle with a bounded queue further in.
//!
//! # Keys
//!
//! [`DedupLayer::new`] takes the key of the mode. In `Plain` mode, requests share a key if they are equal.
//! In `Http` mode, requests share a key if they are safe to share and would get the same response.
//! [`DedupLayer::keyed`] takes a function of yours. **The key must contain everything the response depends
//! on, starting with the caller's identity.** A request without a key bypasses the layer.
//! [`DedupLayer::per`] takes a [`FixedKey`](buttress_core::FixedKey), which may support several types of
//! requests.
//!
//! # Flights
//!
//! The first call of a key, the leader, starts a flight. Later calls of the key are followers. No caller
//! owns the flight: its work lies in a slot, and any member that is polled after the work was woken drives
//! the work. A wake of the work wakes the last driver and a deputy with another waker. So a driver that
//! is dropped, or is held without being polled, delays no other caller.
//!
//! If neither the driver nor the deputy is polled within 10 ms, the flight wakes all other members, once.
//! So members that are held without being polled, however many, delay the others by at most 10 ms. The
//! children of a `FuturesUnordered` are such members while its task does something else. The same holds
//! for the readers of a shared body. If three or more callers wait, this needs a tokio runtime with a time
//! driver.
//!
//! A flight accepts no more callers once the [deadline](buttress_core::Deadline) of a member has passed,
//! because that member has waited in vain for as long as it could. The next call of the key starts another
//! flight, and the members of the first keep their places. So a call that hangs fails only the callers that
//! joined before that deadline. The same holds for a service that does not become ready, and for a shared
//! body that makes no progress. If a caller without a deadline leaves, the flight stays open.
//!
//! If a call takes longer than the callers' timeout, a further call starts each time a timeout passes, and
//! only callers that join late enough are served. If a call takes twice the timeout, no caller is served.
//!
//! A flight runs under ambient values of its own: the latest deadline and the highest criticality of its
//! members, and the attempt of its leader. An inner layer may have noted the leader's deadline when it was
//! called. If that layer ends the call for this deadline, followers with more time start again.
//!
//! A [spare](buttress_core::Attempt::spare) call, such as a hedge, joins a flight like any other call. A
//! flight that a spare call leads is itself spare until a call joins that is not.
//!
//! A deadline that ends at a caller's response head (`until_head`) is not the flight's. If such a deadline
//! ends a caller's wait, the flight accepts no more callers. While that caller is held without being
//! polled, the flight does not know that the deadline has passed.
//!
//! A response may still be in progress when its head arrives, as an HTTP body is. Then the members read it
//! together, each at its own pace, and new callers join until the body is complete. If a body exceeds the limit
//! of the mode (in `Http` mode 1 MiB), the flight accepts no more callers. Callers that have a head get the
//! whole body, within a window of that size. A follower that does not take its head in time makes a call
//! of its own.
//!
//! A call made inside a flight, on the same stack, for the key of that flight bypasses the layer, because
//! it would wait for itself.
//!
//! # Cache
//!
//! With [`cache`](DedupLayer::cache), the layer caches successes for a TTL. [`Cache`] has the options for
//! the rest. Failures that another attempt might mend, unknown failures, timeouts and rejections by layers
//! are never cached. A hit takes neither a flight nor the inner service. The cache is bounded in entries and
//! bytes. [`DedupHandle::invalidate`] removes an entry, and keeps the result of a flight in progress out of
//! the cache. A response is cached when its body has been read to its end.
//!
//! A request can state how fresh an entry must be, with a
//! [`WantedFreshness`](buttress_core::WantedFreshness). In `Http` mode that is its `Cache-Control` header.
//!
//! An outcome with the signal [`degraded`](buttress_core::Signals::degraded) stands in for a failure, so it
//! is shared and never cached. In `Http` mode the mark [`Degraded`](buttress_core::Degraded) in a response
//! has the same effect. A stale entry that the layer serves in place of a failure raises the signal, and
//! carries the mark in `Http` mode.
//!
//! A flight that another flight has replaced writes its result only if it ends before the other flight ends.
//! If a read of a [`Store`] outlasts a caller's patience, later flights give the store a head start of
//! 10 ms and then call the service as well, until the store answers first again.
//!
//! A store may [coordinate](Store::IS_COORDINATED) several processes. Then a read may answer that this process
//! leads: the flight holds a lease until the response is complete, and other processes wait for the result.
//! Each process coalesces its own callers first. If a caller waits for another process past its deadline, the
//! next flight of that key calls the service after 10 ms. A background refresh that another process makes
//! already costs no call here.
//!
//! # Changes
//!
//! In `Http` mode, a successful request with an unsafe method invalidates the entries of its target. The
//! flights of its target accept no later callers. Both hold if the key is the mode's own, and also without
//! [`cache`](DedupLayer::cache). They hold too for a [`KeyOf`](buttress_core::KeyOf) that implements
//! `invalidates`. So a call made after the outcome of the change is known never gets an older answer. A
//! call made while the change is in progress may join an older flight, because the order in which the
//! service sees the two is not known.
//!
//! # Fleet
//!
//! With a [`SharedCache`] as the [store](Cache::store), the replicas of a service share their entries, and
//! a single replica makes a call that all need. The callers of a process are coalesced first.
//!
//! | promise | bound |
//! |---|---|
//! | inner calls for a missed key, in all replicas | 1 while the leader lives and its call takes less than the lease, or the store renews the lease |
//! | a leader leaves or fails | another replica leads after a trip. After two failed flights each replica calls for itself |
//! | a leader dies | the lease, a poll of at most 100 ms, and another call |
//! | a wait for another replica | [`max_wait`](SharedCache::max_wait), 5 s, and the caller's deadline |
//! | the store is away | no call fails. Each replica makes its own calls, once for all its callers |
//! | an entry that another replica has invalidated | is served for at most [`local_ttl`](SharedCache::local_ttl), 1 s |
//! | a stale entry | one refresh in all replicas |
//!
//! The lock of a leader ends with its lease, which is an option of the store. So there is one leader for
//! each lease, and no mutual exclusion: a call may be made twice. Errors are not shared between replicas,
//! and responses with the signal `degraded` are not stored.
//!
//! # Readiness
//!
//! `poll_ready` is always ready and does not poll the inner service. Hits and followers never wait for its
//! readiness. A flight waits for the readiness of its own clone, and calls that same clone.
//!
//! # Errors
//!
//! The error type is the inner service's. An error goes to one caller, unless errors are shared:
//! [`share_errors`](DedupLayer::share_errors) clones them, and
//! [`share_errors_with`](DedupLayer::share_errors_with) takes a function of yours. Otherwise a single
//! follower makes the next call, and the rest wait for that call. So while the service is down, the last
//! of n callers waits for n calls, or until its deadline. Share errors if you can. An error that is not
//! `Clone`, such as hyper's, can be shared in an `Arc`, with `.map_err(Arc::new)` below this layer.
//!
//! If an inner layer superseded the call for a later one, all callers of the flight are rejected as
//! superseded. A call of their own would supersede the later call.
//!
//! Every caller of a flight sees the [`Signals`](buttress_core::Signals) of its outcome. A single caller
//! sees what the flight [spent](buttress_core::Signals::spent), so that a sum over all callers counts each
//! call once. A cache hit raises no signal.
//!
//! A panic in the service or in the key function becomes a [`Rejection`](buttress_core::Rejection) with
//! reason `Panicked` for all members, including the member that met it (500 in HTTP, 13 in gRPC). With
//! [`resume_panics`](DedupLayer::resume_panics) the panic resumes in that member. The next call starts
//! afresh. A call that bypasses the layer panics as it would without the layer.
//!
//! # Cancellation
//!
//! Dropping the response future or the body leaves the flight. If the leader leaves while others wait,
//! another member drives the call, nothing is sent again, and [`handovers`](DedupHandle::handovers) counts
//! the change. If the leader leaves while the body is read, the other members read on. When the last member
//! leaves, the work is dropped at once. If work must finish without callers, for example to fill a cache, spawn a task for it
//! in the inner service. The layer itself spawns only background refreshes, if
//! [`stale_while_revalidate`](Cache::stale_while_revalidate) or
//! [`early_refresh`](Cache::early_refresh) is set. A [`SharedCache`] spawns a task to end a lease, which
//! gives a lock back within one trip, and tasks that send invalidations.
//!
//! # Sharing
//!
//! The clones of a layer, and all services it makes over the same type of service, share flights and
//! entries. If two different services answer the same keys, give each its own layer. In `Plain` mode,
//! responses are shared by cloning them. While a lock is held, none of your code runs except `Hash` and
//! `Eq` of a key. Keys are hashed with a random seed. An attacker who can choose very many keys may still
//! find some that collide.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | trace | `dedup.joined`: a call joined a flight | `instance`, `observed` |
//! | trace | `dedup.cache_hit`: a call was answered from the cache | `instance`, `stale`, `observed` |
//! | debug | `dedup.not_shared`: the response is for a single caller | `instance` |
//! | debug | `dedup.refresh_started`: a background refresh began | `instance` |
//! | debug | `dedup.error_replaced`: a stale entry was served in place of a failure | `instance` |
//! | debug | `dedup.superseded`: the fleet's store did not take a result, because it was invalidated meanwhile | `instance` |
//! | debug | `dedup.entry_rejected`: a value of the fleet's store is damaged or foreign | `instance`, `reason` |
//! | warn | `dedup.store_lost`: the fleet's store does not answer, or refuses. Once for an outage | `instance`, `error` |
//! | info | `dedup.store_regained`: the fleet's store answers again | `instance`, `away` |
//! | debug | `dedup.rejected`: the request wanted only a cached answer, and there was none | `instance`, `reason` |
//! | error | `dedup.panicked`: the service or the key function panicked | `instance` |
//!
//! # Metrics
//!
//! A [`DedupHandle`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading has
//! the name of the layer as its instance.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.dedup.calls` | counter | `{call}` | – | Calls. A call that starts again counts once. |
//! | `buttress.dedup.leaders` | counter | `{call}` | – | Calls and background refreshes that started a flight. |
//! | `buttress.dedup.followers` | counter | `{call}` | – | Calls that joined a flight, and background refreshes that found a flight. |
//! | `buttress.dedup.bypassed` | counter | `{call}` | – | Calls without a key, and calls whose result could not be shared. |
//! | `buttress.dedup.handovers` | counter | `{flight}` | – | Flights that continued after their leader had left. |
//! | `buttress.dedup.cache_hits` | counter | `{call}` | – | Calls that were answered with a cache entry. |
//! | `buttress.dedup.stale_hits` | counter | `{call}` | – | Cache hits whose entry was stale. |
//! | `buttress.dedup.refreshes` | counter | `{refresh}` | – | Background refreshes that were started. |
//! | `buttress.dedup.panics` | counter | `{panic}` | – | Panics that callers met. |
//! | `buttress.dedup.in_flight` | gauge | `{flight}` | – | Flights that a caller can join. |
//! | `buttress.dedup.waiters` | gauge | `{call}` | – | Callers that wait for a flight, or read its response. |
//! | `buttress.dedup.cache_entries` | gauge | `{entry}` | – | Cache entries. |
//! | `buttress.dedup.cache_bytes` | gauge | `By` | – | Bytes that the cache entries take. |
//! | `buttress.dedup.store.hits` | counter | `{flight}` | – | Reads of a coordinated store that found an entry. |
//! | `buttress.dedup.store.leads` | counter | `{flight}` | – | Reads after which this process made the call for all others. |
//! | `buttress.dedup.store.waits` | counter | `{flight}` | – | Reads that waited for the call of another process. |
//! | `buttress.dedup.store.alone` | counter | `{flight}` | – | Reads after which this process made a call for itself alone. |
//! | `buttress.dedup.store.superseded` | counter | `{entry}` | – | Results that the store did not take, because they had been invalidated meanwhile. |
//! | `buttress.dedup.store.errors` | counter | `{error}` | – | Operations of the store that failed. |
//!
//! The cache has readings if the layer has a [`Cache`]. The store has readings once a call has opened a
//! [coordinated](Store::IS_COORDINATED) store. Each call begins as a leader, a follower, a
//! bypassed call or a cache hit, or is rejected at once. A follower that starts again is counted
//! again, so the parts may be more than `calls`. The layer does not count how calls end. No key is a
//! label, because each would be a time series.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`cache`](DedupLayer::cache) | no cache |
//! | [`share_errors`](DedupLayer::share_errors) | errors are not shared |
//! | [`max_shared_bytes`](DedupLayer::max_shared_bytes) | 64 MiB of responses in progress |
//! | [`resume_panics`](DedupLayer::resume_panics) | off |
//! | [`observe`](DedupLayer::observe) | off |
//! | [`per_service`](DedupLayer::per_service) | off |
//! | [`named`](DedupLayer::named) | `"dedup"` |
//! | [`Cache::negative_ttl`] | failures are not cached |
//! | [`Cache::jitter`] | 10 % |
//! | [`Cache::stale_while_revalidate`], [`Cache::stale_if_error`] | none |
//! | [`Cache::early_refresh`] | off |
//! | [`Cache::refresh_timeout`] | 30 s |
//! | [`Cache::refresh_backoff`] | 1 s to 60 s, ± 20 % |
//! | [`Cache::max_entries`], [`Cache::max_bytes`] | 10,000 and 64 MiB |
//! | [`Cache::classify`] | the mode's |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod call;
mod flight;
mod handle;
mod key;
mod layer;
mod metrics;
mod service;
mod settings;
mod share_error;
mod state;

pub use buttress_control::{Backoff, EarlyRefresh, Jitter, Ratio};
pub use buttress_state::FlightStore;

#[cfg(feature = "shared-cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "shared-cache")))]
pub use cache::SharedCache;
pub use cache::{
    Cache, CacheEntry, CachedOutcome, Fetched, Intent, MaybeShared, Memory, NoCache, OpenStore,
    SharedCacheHandle, Store, StoreCounts,
};
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

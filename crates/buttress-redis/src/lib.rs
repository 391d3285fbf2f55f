//! Rate limits, a cache and single flight for a fleet of processes, on Redis or Valkey.
//!
//! ```
//! use buttress_redis::Redis;
//! use buttress_state::{Ask, CellRate, QuotaStore};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redis = Redis::open("redis://127.0.0.1:6379", "shop")?; // dials in the background
//! let quotas = redis.quotas();
//! let rate = CellRate::new(Duration::from_millis(10), 100);
//! match quotas.acquire(Ask::new(b"tenant 7", &[rate], 1)).await {
//!     Ok(grant) => println!("{} cells", grant.granted),
//!     Err(error) => println!("the store is away: {error}"),
//! }
//! # Ok(()) }
//! ```
//!
//! # When to use it
//!
//! Use it if a limit, a cache or single flight must hold for many processes together. Give
//! [`Redis::quotas`] to a rate limit, and [`Redis::flights`] to a shared cache. The server needs Redis
//! 7 or later, or Valkey.
//!
//! Do not use it for a single process, because the layers keep their state in the process for less.
//! Do not use it as a lock: a lock that ends with its lease is not mutual exclusion.
//!
//! - [`RedisQuotas`] is a [`QuotaStore`](buttress_state::QuotaStore). A bucket is a string of about
//!   30 bytes. One script takes the cells of all rates of a key together, by the clock of the store.
//! - [`RedisFlights`] is a [`FlightStore`](buttress_state::FlightStore). A random generation per group
//!   is the fence: a value is stored and found only under the generation of its flight.
//!
//! Intervals below 1 µs count as 1 µs. A bucket that would take longer than 31 years to fill counts
//! as a bucket of 31 years.
//!
//! # Connections
//!
//! There is one multiplexed connection, or one per server of a cluster, with RESP3 and `TCP_NODELAY`.
//!
//! - A task dials, with a backoff from 10 to 100 ms and jitter. Opening a client never waits.
//! - An operation without a connection fails at once. Only while the first connection is dialled, an
//!   operation waits for it, within its time limit. [`Redis::connected`] waits for longer.
//! - Each operation has one [time limit](Redis::time_limit). The replies that say that nothing ran
//!   are included: an unknown script is loaded and called again, and a redirection is followed once.
//! - An operation whose reply did not come may have run, and is never sent again.
//! - After a time-out, or if the connection breaks under an operation, a circuit opens, and operations
//!   fail at once. A connection that closes between operations opens no circuit. A task
//!   probes the store at once and then every 100 ms. Any reply closes the circuit. A cluster has a
//!   circuit for each 256 hash slots, so a dead server costs the slots of the others nothing.
//! - Three sequential time-outs with no reply between them replace the connection. Operations that
//!   time out together count once.
//! - A reply that makes no sense replaces the connection, because replies may no longer belong to
//!   their requests. So does a server that closes the connection or breaks the protocol.
//! - A connection to a server that replies with `READONLY` is replaced, at most once a second. After
//!   a failover the name of the server may be that of the new primary.
//!
//! The connections belong to the tokio runtime of the first operation, or of [`Redis::open`]. When
//! that runtime ends, the next operation dials anew in its own. Outside of a runtime with timers, the
//! store counts as away.
//!
//! # Errors
//!
//! Every failure is a [`StoreError`](buttress_state::StoreError), and nothing panics.
//!
//! | kind | when | may have run |
//! |---|---|---|
//! | `Timeout` | no reply within the time limit | yes |
//! | `Unavailable` | no connection, an open circuit, `CLUSTERDOWN`, `MASTERDOWN` | no |
//! | `Unavailable` | the connection broke | yes |
//! | `Rejected` | the server replied with an error, such as `OOM`, `READONLY`, `LOADING`, `NOPERM` | no |
//! | `Corrupt` | the reply makes no sense | yes |
//!
//! After `NOPERM`, `NOAUTH` and `WRONGPASS` the error has a `retry_after` of 10 s. A bucket of a wrong
//! type or form is overwritten by an empty bucket, and the grant says `lost`. A wrong type under a
//! value, a lock or a generation is deleted and counts as a miss.
//!
//! # Cancellation
//!
//! A caller may leave at any time. What was sent may run. If the caller of
//! [`begin`](buttress_state::FlightStore::begin) leaves before the reply, a task releases the lock.
//! If the caller of [`invalidate`](buttress_state::FlightStore::invalidate) leaves, or if the call
//! fails, a task repeats the invalidation until the store confirms it. Meanwhile this process takes
//! nothing of that group from the store. More than 1,024 such groups clear the whole store.
//!
//! # Sharing
//!
//! Clones of a [`Redis`], its quotas and its flights share the connection. With the last of them the
//! connection and all tasks end. A task runs per connection, per open circuit, and while locks are
//! renewed or released or an invalidation waits.
//!
//! Layers and processes with the same namespace, name and key share a bucket. All that is stored
//! expires: a bucket when it is full, a value after at most 24 h.
//!
//! # Events
//!
//! | level | event | fields |
//! |---|---|---|
//! | info | `redis.connected` | `node` |
//! | warn | `redis.connection_lost` | `node`, `reason`: `closed`, `broken`, `silent` or `read_only` |
//! | warn | `redis.dial_failed`, at debug after the first of an outage | `node`, `error` |
//! | warn | `redis.subscribe_failed` | `node`, `error` |
//! | warn | `redis.rejected`, at most once a second | `error` |
//! | debug | `redis.circuit_opened`, `redis.circuit_closed` | `part` |
//!
//! # Metrics
//!
//! A [`Redis`] is a [`Measure`](buttress_core::Measure) with these metrics. Each reading has the
//! namespace as its instance, and counts the operations of all clones, quotas and flights together.
//!
//! | metric | kind | unit | label | description |
//! |---|---|---|---|---|
//! | `buttress.redis.operations` | counter | `{operation}` | – | Operations begun, with those that failed at once. |
//! | `buttress.redis.errors` | counter | `{error}` | `kind` | Operations that failed. |
//! | `buttress.redis.connections` | counter | `{connection}` | – | Connections established. |
//! | `buttress.redis.connected` | gauge | `1` | – | Whether a connection stands now: 1 or 0. |
//! | `buttress.redis.open_circuits` | gauge | `{circuit}` | – | Circuits that are open now. The operations of an open circuit fail at once. |
//!
//! `kind` is `timeout`, `unavailable`, `rejected` or `corrupt`, and each of the four has a reading. A
//! registry that holds a [`Redis`] keeps the connection open.
//!
//! # Security
//!
//! Names hold hashes only, so a key of any bytes is safe, and no data of users is in a name. Scripts
//! are constants. No password is in an event, in an error or in a `Debug`.
//!
//! A party that can write to the store can change limits and forge values. TLS (`rediss://`, feature
//! `tls`) and the rules of access are the boundary. For the namespace `shop` these rules suffice:
//!
//! ```text
//! ACL SETUSER shop on >password ~{shop:* &shop:* -@all +evalsha +script|load +get +set +setrange
//!     +del +pttl +publish +subscribe +time +hello +ping +cluster|slots +asking
//! ```
//!
//! For quotas, advise the server to keep every bucket: `maxmemory-policy noeviction`, because a
//! bucket that was evicted is full unless its caller expects it. For a cluster, set
//! `cluster-require-full-coverage no`. Persistence is not needed.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`Redis::time_limit`] | 25 ms |
//! | [`RedisFlights::lease`] | 3 s |
//! | [`RedisFlights::renew_for`] | 30 s |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod connection;
mod flights;
mod metrics;
mod names;
mod open_error;
mod quotas;
mod random;
mod redis;

pub use buttress_state::StoreSnapshot;

pub use self::{flights::RedisFlights, open_error::OpenError, quotas::RedisQuotas, redis::Redis};

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

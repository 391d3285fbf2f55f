//! The measurements of the cost of a layer.
//!
//! A [`Case`] is a layer around an inner service that does next to nothing. The bench calls the layer many
//! times in a row on one thread and measures four quantities:
//!
//! - **Instructions** per call, counted by callgrind. The count is repeatable to about one percent on
//!   any machine, so a CI check can set a limit. The bench runs itself under callgrind twice, with N
//!   and with 2 N calls. The difference excludes all work that is done once per process.
//! - **Allocations** per call, counted by the allocator.
//! - **Bytes** per call in flight: the size of the future and of its allocations.
//! - **Time**, as the ratio to tower's layer in the same run. Rounds of all cases alternate, and the
//!   table shows the median.
//!
//! The same quantity of the bare service is subtracted from each.
//!
//! Measurements with more than one call at a time:
//!
//! - [`StackContention`]: throughput of two threads that share layers, one call at a time each.
//! - [`LimitContention`]: throughput of a limit that two threads share.
//! - [`DedupContention`]: throughput of a coalescer or cache that two threads share.
//! - [`WaitingCalls`]: bytes of a call that waits in a queue.
//! - [`Flight`]: time, bytes and polls of a follower that waits for another call's response.

mod callgrind;
mod case;
mod cases;
mod coalescer;
mod concurrent_calls;
mod contention;
mod cost;
mod flight;
mod growth;
mod http1;
mod median;
mod service;
mod shared_writes;
mod waiting;

pub use case::{Case, Pattern, Workload, drive, drive_http, drive_plain, enter_runtime};
pub use cases::{cases, coalescers, reference_cases, response_caches};
pub use coalescer::{Coalescer, ResponseCache};
pub use contention::{
    DedupContention, LimitContention, StackContention, limit_contention, print_dedup_contention,
    print_limit_contention, print_stack_contention, stack_contention,
};
pub use cost::{print_costs, run_requested_case};
pub use flight::{Flight, print_flights};
pub use growth::{Growth, growths, print_growth, run_requested_growth};
pub use http1::{Http1Case, http1_cases, print_http1, run_requested_http1_case};
pub use service::{
    Acquire, AcquireFuture, Echo, EchoFuture, Inner, Source, SourceError, SourceFuture, Work,
    Worker, WorkerFuture,
};
pub use shared_writes::print_shared_writes;
pub use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
pub use waiting::{WaitingCalls, print_waiting, waiting_calls};

//! What a layer costs: the cases, and the means to measure them.
//!
//! A case is a layer over a service that does next to nothing, called many times in a row on one
//! thread. Four things are read off it:
//!
//! - **instructions** per call, counted by valgrind's callgrind: repeatable to about one percent on
//!   any machine, and so what a bar can be set on. The bench runs itself under callgrind twice, with
//!   N and with 2 N calls; the difference is free of what is done once for all of them.
//! - **allocations** per call, by an allocator that counts.
//! - **bytes** per call in flight: the future, and what a call allocates.
//! - **time**, as a ratio to tower's layer in the same run. Rounds of all cases alternate, and the
//!   median counts.
//!
//! From each the same of the service alone is subtracted.
//!
//! Some things need more than one call at a time: how a limit fares when two threads share it
//! ([`Crowd`]), and an answer ([`Gathering`]); what a call takes while it waits in a queue
//! ([`Line`]), and for another call's answer ([`Flight`]).

mod case;
mod cases;
mod concurrent_calls;
mod contention;
mod cost;
mod dedup;
mod flight;
mod median;
mod service;
mod waiting;

pub use case::{Base, Case, Pattern, drive, drive_http, drive_plain, enter_runtime};
pub use cases::{cases, dedups, hits, of_tower};
pub use contention::{Crowd, Gathering, crowds, print_contention, print_gatherings};
pub use cost::{answer_if_asked, print};
pub use dedup::{Dedup, Hits};
pub use flight::{Flight, print_flights};
pub use service::{
    Answer, ByHand, Echo, Effort, Failed, Holding, Inner, Load, Source, Work, Worker,
};
pub use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
pub use waiting::{Line, lines, print_waiting};

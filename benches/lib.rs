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

mod by_hand;
mod case;
mod crowd;
mod dedup;
mod flight;
mod gathering;
mod instructions;
mod layers;
mod limits;
mod limits_by_others;
mod line;
mod ring;
mod service;
mod sharing;
mod source;
mod table;
mod together;
mod worker;

pub use by_hand::{ByHand, Holding};
pub use case::{Base, Case, Pattern, drive, drive_http, drive_plain, enter_runtime};
pub use crowd::{Crowd, crowds, print_contention};
pub use dedup::{Dedup, Hits};
pub use flight::{Flight, print_flights};
pub use gathering::{Gathering, print_gatherings};
pub use instructions::answer_if_asked;
pub use layers::{cases, of_tower};
pub use line::{Line, lines, print_waiting};
pub use service::{Answer, Echo, Inner};
pub use sharing::{dedups, hits};
pub use source::{Failed, Load, Source};
pub use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
pub use table::print;
pub use worker::{Effort, Work, Worker};

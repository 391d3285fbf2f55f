//! The upstream: a server on loopback behind an unstable network, in a process of its own.

pub(crate) mod conditions;
mod fault_plan;
mod faulty_stream;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod simulated;

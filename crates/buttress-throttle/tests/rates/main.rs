//! Rates in this process, and the same rates kept through the store of a fleet of one replica.
//!
//! Each test is written once. It runs in the modules `local` and `fleet`, whose functions `rate` and
//! `rates` make the layer.
#![cfg(not(buttress_loom))]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test may panic as the test may"
)]
#![expect(clippy::disallowed_methods, reason = "callers run in tasks of their own here")]
#![expect(clippy::duplicate_mod, reason = "each test runs over two kinds of cells")]

mod fleet;
mod local;
mod support;

//! The README and the documents of `docs/`. Their Rust code compiles as doctests.

#[doc = include_str!("../README.md")]
pub mod readme {}
#[doc = include_str!("../docs/experiments.md")]
pub mod experiments {}
#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

//! A circuit breaker with gradual recovery, as a tower layer.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod circuits;
mod future;
mod handle;
mod isolation;
mod layer;
mod outcome;
mod service;
mod settings;
mod ticket;

pub use buttress_control::{Backoff, CircuitCounts, CircuitRules, CircuitState, Jitter, Ratio};
pub use circuits::{CircuitOf, Circuits, KeyedCircuits, OneCircuit};
pub use future::ResponseFuture;
pub use handle::{BreakerHandle, BreakerSnapshot};
pub use isolation::Isolation;
pub use layer::BreakerLayer;
pub use service::Breaker;

//! The services that the measured layers wrap.

mod acquire;
mod echo;
mod source;
mod worker;

pub use acquire::{ByHand, Holding};
pub use echo::{Answer, Echo, Inner};
pub use source::{Failed, Load, Source};
pub use worker::{Effort, Work, Worker};

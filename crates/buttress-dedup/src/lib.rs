//! A layer that makes one call of many.

mod answer;
mod enter;
mod flight;
mod flights;
mod future;
mod handle;
mod kept;
mod keys;
mod landing;
mod layer;
mod oneshot;
mod part;
mod policy;
mod refresh;
mod registry;
mod run;
mod service;
mod settings;
mod setup;
mod share_error;
mod state;
mod sync;
mod work;

pub use flight::Seat;
pub use future::ResponseFuture;
pub use handle::DedupHandle;
pub use kept::{Held, Kept};
pub use keys::Keys;
pub use layer::DedupLayer;
pub use policy::{Conclusion, InFlight, Keeper, KeptBy, Look, Policy, Shelf};
pub use service::Dedup;
pub use setup::{Core, Inner, Setup};
pub use share_error::{Cloned, ShareError, SharedBy, Unshared};

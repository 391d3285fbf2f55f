//! A layer that ends calls at a deadline.

mod future;
mod guard;
mod handle;
mod layer;
mod order;
mod queue;
mod service;
mod settings;
mod timers;

pub use future::ResponseFuture;
pub use guard::DeadlineGuard;
pub use handle::DeadlineHandle;
pub use layer::DeadlineLayer;
pub use service::DeadlineService;

mod byte_budget;
mod expire;
mod freshness;
mod key;
mod mark;
mod propagate;
mod quota;
mod replay;
mod respond;
mod share;
mod upload;

pub use self::byte_budget::Allowance;
pub use self::expire::{Expire, Lifetime};
pub use self::freshness::Freshness;
pub use self::key::KeyOf;
pub use self::mark::Mark;
pub use self::propagate::{Carry, Expired};
pub use self::quota::Quota;
pub use self::replay::Replay;
pub use self::respond::{Guard, Plain, Respond};
pub use self::share::{Age, Progress, Reader, Share};
pub use self::upload::{Upload, Waited};

/// Swaps the mode of a layer. `.http()` is `bind(Http::new())`.
///
/// The layer's state goes along: both handles speak of the same limits and counts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer that can take the mode `{M}`",
    note = "`.http()` belongs on a layer of buttress, before it wraps a service"
)]
pub trait Bind<M> {
    /// The layer in its new mode.
    type Bound;

    /// The layer in the mode `mode`.
    fn bind(self, mode: M) -> Self::Bound;
}

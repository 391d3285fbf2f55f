mod check;
mod ready;
mod seeds;
mod settings;

pub use self::check::Check;
pub use self::ready::{give_back_ready, take_ready};
pub use self::seeds::seeds;
pub use self::settings::{Enforcement, Extent, StateScope};

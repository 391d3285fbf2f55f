mod check;
mod ready;
mod settings;

pub use self::check::Check;
pub use self::ready::take_ready;
pub use self::settings::{Enforcement, Extent, StateScope};

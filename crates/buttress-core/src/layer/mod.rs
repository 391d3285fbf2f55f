mod ready;
mod settings;

pub use self::ready::{Check, take_ready};
pub use self::settings::{Enforcement, Extent, StateScope};

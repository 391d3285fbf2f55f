mod check;
mod ready;
mod seeds;
mod settings;
mod shared_settings;

pub use self::check::Check;
pub use self::ready::{MAX_READINESS_WAIT, give_back_ready, take_ready};
pub use self::seeds::seeds;
pub use self::settings::{Enforcement, Extent, StateScope};
pub use self::shared_settings::{CallCount, CallSettings, LayerSettings, SharedSettings};

mod ready;

pub use self::ready::{Check, take_ready};

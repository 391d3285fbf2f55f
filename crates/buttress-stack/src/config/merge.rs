use std::time::Duration;

use super::{ClientConfig, Setting};

/// The settings that `config` asks for, on top of those that the program gave.
pub(crate) fn merged(config: &ClientConfig, built: &ClientConfig) -> ClientConfig {
    let mut built = built.clone();
    // A hedge has one kind of delay. The kind that the file names replaces the other.
    if config.hedge.after.is_some() {
        (built.hedge.quantile, built.hedge.least) = (None, None);
    }
    if config.hedge.quantile.is_some() && built.hedge.after.take().is_some() {
        built.hedge.least = Some(LEAST_DELAY);
    }
    config.clone().or(built)
}

/// That of `HedgeLayer::learned`.
const LEAST_DELAY: Duration = Duration::from_millis(10);

use buttress_dedup::SharedCacheHandle;

use crate::config::SharedCacheConfig;

/// The options of the cache as settings.
pub(super) fn shown(handle: &SharedCacheHandle) -> SharedCacheConfig {
    SharedCacheConfig {
        local_ttl: Some(handle.local_ttl()),
        max_value: Some(u32::try_from(handle.max_value()).unwrap_or(u32::MAX)),
        max_wait: Some(handle.max_wait()),
    }
}

/// Sets the options that `config` sets.
pub(super) fn set(handle: &SharedCacheHandle, config: &SharedCacheConfig) {
    if let Some(ttl) = config.local_ttl {
        handle.set_local_ttl(ttl);
    }
    // More than a number can say is shown as the largest one, which then changes nothing.
    let bytes = config.max_value.filter(|_| shown(handle).max_value != config.max_value);
    if let Some(bytes) = bytes {
        handle.set_max_value(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    if let Some(wait) = config.max_wait {
        handle.set_max_wait(wait);
    }
}

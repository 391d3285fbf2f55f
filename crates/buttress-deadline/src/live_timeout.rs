use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use buttress_core::{CachePadded, Deadline};

/// The timeout of a layer, which handles change while calls run.
#[derive(Debug)]
pub(crate) struct LiveTimeout {
    /// Seconds above [`NANOS_BITS`] bits of nanoseconds, or [`NONE`].
    packed: CachePadded<AtomicU64>,
}

impl LiveTimeout {
    pub(crate) const fn new(timeout: Option<Duration>) -> Self {
        Self { packed: CachePadded::new(AtomicU64::new(pack(timeout))) }
    }

    /// Returns the timeout. `None` if there is none, or one of [`Deadline::NEVER`] or more.
    #[inline]
    pub(crate) fn get(&self) -> Option<Duration> {
        // Relaxed: the value stands for itself, and orders no other memory.
        let packed = self.packed.load(Ordering::Relaxed);
        let nanos = u32::try_from(packed & NANOS).unwrap_or_default();
        (packed != NONE).then(|| Duration::new(packed >> NANOS_BITS, nanos))
    }

    pub(crate) fn set(&self, timeout: Option<Duration>) {
        self.packed.store(pack(timeout), Ordering::Relaxed);
    }
}

/// Packed into one value, so that no call reads the seconds of one timeout with the nanoseconds of
/// another. Not a number of nanoseconds, because each call would divide it.
const fn pack(timeout: Option<Duration>) -> u64 {
    match timeout {
        Some(timeout) if timeout.as_secs() < Deadline::NEVER.as_secs() => {
            timeout.as_secs() << NANOS_BITS | timeout.subsec_nanos() as u64
        }
        _ => NONE,
    }
}

/// The bits of a number below 1,000,000,000. The other 34 bits hold the seconds of 544 years.
const NANOS_BITS: u32 = 30;
const NANOS: u64 = (1 << NANOS_BITS) - 1;
/// More than a second of nanoseconds, so no timeout has this value.
const NONE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_is_kept_to_the_nanosecond() {
        let longest = Deadline::NEVER.saturating_sub(Duration::from_nanos(1));
        for timeout in
            [Duration::ZERO, Duration::from_nanos(1), Duration::new(7, 999_999_999), longest]
        {
            assert_eq!(LiveTimeout::new(Some(timeout)).get(), Some(timeout));
        }
        for never in [None, Some(Deadline::NEVER), Some(Duration::MAX)] {
            assert_eq!(LiveTimeout::new(never).get(), None);
        }
    }
}

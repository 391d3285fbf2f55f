use std::ops::Deref;

/// A value on cache lines of its own, for what every call reads and no call writes.
///
/// If a call writes the cache line of another value, each read of that value waits until the other
/// core has given the line up. So a setting that handles change while calls run lies apart from the
/// counters.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// use buttress_core::CachePadded;
///
/// let attempts = CachePadded::new(AtomicU32::new(3));
/// attempts.store(2, Ordering::Relaxed);
/// assert_eq!(align_of_val(&attempts), 128);
/// ```
// Two lines, because processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CachePadded<T>(T);

impl<T> CachePadded<T> {
    /// Creates the value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for CachePadded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

use std::{
    array,
    cell::Cell,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A value with a copy for each thread, for what every call writes: reference counts and counters.
///
/// If two threads write the same cache line, each write waits until the other core has given the
/// line up. So a call clones the `Arc` of its thread's own copy, and counts in that copy. The numbers
/// of all threads together are the sum over the [`copies`](Self::copies).
///
/// There are at most 8 copies: further threads share them, so a copy must be `Sync` as any shared
/// value. A copy is made when its thread first asks for it. Until then no memory is allocated, so a
/// layer that is applied for each request costs nothing more.
///
/// A call may end on another thread than it began on. That thread then writes the line of the first.
///
/// A copy must not hold an `Arc` of the value that the `PerThread` is part of. Otherwise neither is
/// ever dropped.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use buttress_core::PerThread;
///
/// let calls = PerThread::<AtomicU64>::new();
/// for _ in 0..3 {
///     calls.get_or_make(AtomicU64::default).fetch_add(1, Ordering::Relaxed);
/// }
/// let sum: u64 = calls.copies().map(|copy| copy.load(Ordering::Relaxed)).sum();
/// assert_eq!(sum, 3);
/// ```
#[derive(Debug)]
pub struct PerThread<T> {
    copies: [OnceLock<Arc<ThreadCopy<T>>>; COPIES],
}

impl<T> PerThread<T> {
    /// Creates a value without copies.
    pub fn new() -> Self {
        Self { copies: array::from_fn(|_| OnceLock::new()) }
    }

    /// Returns the copy of the current thread, made by `make` if the thread has none.
    ///
    /// `make` must not ask the same `PerThread`, and must not block. If it panics, no copy is made.
    #[inline]
    pub fn get_or_make(&self, make: impl FnOnce() -> T) -> &Arc<ThreadCopy<T>> {
        // The bounds check finds a thread without a number too.
        let copy = self.copies.get(NUMBER.get()).and_then(OnceLock::get);
        copy.unwrap_or_else(|| self.make(make))
    }

    #[cold]
    fn make(&self, make: impl FnOnce() -> T) -> &Arc<ThreadCopy<T>> {
        let [first, ..] = &self.copies;
        let copy = self.copies.get(thread_number()).unwrap_or(first);
        copy.get_or_init(|| Arc::new(ThreadCopy(make())))
    }

    /// Returns the copies made so far, in no order.
    pub fn copies(&self) -> impl Iterator<Item = &Arc<ThreadCopy<T>>> {
        self.copies.iter().filter_map(OnceLock::get)
    }
}

impl<T> Default for PerThread<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The copy of a thread in a [`PerThread`].
// Aligned, so that the copy shares no cache line with other values, and its reference count none
// with other counts. Two lines, because processors fetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct ThreadCopy<T>(T);

impl<T> Deref for ThreadCopy<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Returns the number of the current thread: less than 8, and different for up to 8 threads.
#[inline]
pub(crate) fn thread_number() -> usize {
    match NUMBER.get() {
        UNNUMBERED => number_thread(),
        known => known,
    }
}

#[cold]
fn number_thread() -> usize {
    // Relaxed: the numbers need only differ, and publish no other memory.
    NUMBER.set(NEXT.fetch_add(1, Ordering::Relaxed) % COPIES);
    NUMBER.get()
}

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(UNNUMBERED) };
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The number of copies, and of thread numbers.
pub(crate) const COPIES: usize = 8;

const UNNUMBERED: usize = COPIES;

use std::{
    cell::Cell,
    cmp::Ordering,
    hash::{Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use crate::Scope;

/// The instant by which a call must have ended.
///
/// A deadline is absolute and ambient. A layer enters it around `call`, around every poll of the
/// future and of the body; whatever runs inside reads it with [`Deadline::current`]. It only ever
/// shrinks on the way in: a layer takes the [`earliest`](Self::earliest) of its own and the ambient
/// one.
///
/// A deadline can end at the response head ([`until_head`](Self::until_head)), and can be the earliest
/// of one that does and one that does not. [`instant`](Self::instant), [`remaining`](Self::remaining),
/// [`has_passed`](Self::has_passed) and all comparisons are about what is in force until the head. A
/// layer that holds a deadline for the body of a response, or announces it to another process, takes
/// [`beyond_head`](Self::beyond_head).
///
/// Entering and leaving is a swap of a thread-local cell: no allocation, no runtime needed.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// In force until the response head.
    head: Instant,
    beyond_head: Beyond,
}

/// How many nanoseconds after the head's deadline that of the whole call is: 0 for almost all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beyond(u64);

impl Deadline {
    /// The deadline at `instant`.
    #[inline]
    pub const fn at(instant: Instant) -> Self {
        Self { head: instant, beyond_head: Beyond::SAME }
    }

    /// The deadline `timeout` from now. A timeout of more than thirty years counts as thirty years.
    #[inline]
    pub fn after(timeout: Duration) -> Self {
        Self::from_start(Instant::now(), timeout)
    }

    /// The deadline `timeout` after `start`, with the same bound as [`after`](Self::after).
    #[inline]
    pub fn from_start(start: Instant, timeout: Duration) -> Self {
        let timeout = timeout.min(Self::NEVER);
        Self::at(start.checked_add(timeout).unwrap_or(start))
    }

    /// The same deadline, in force until the response head only.
    #[inline]
    #[must_use]
    pub const fn until_head(self) -> Self {
        Self { beyond_head: Beyond::NOTHING, ..self }
    }

    /// The deadline that is in force for the whole call, and so after the response head too. `None` if
    /// everything ends at the head.
    #[inline]
    pub fn beyond_head(self) -> Option<Self> {
        match self.beyond_head {
            Beyond::SAME => Some(self),
            Beyond::NOTHING => None,
            Beyond(nanos) => self.head.checked_add(Duration::from_nanos(nanos)).map(Self::at),
        }
    }

    /// The ambient deadline: that of the call, future or body being run on this thread.
    #[inline]
    pub fn current() -> Option<Self> {
        AMBIENT.get()
    }

    /// The earlier of two deadlines, where `None` is later than any. Until the head and beyond it,
    /// each is the earlier of its own.
    #[inline]
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) if a.is_whole() && b.is_whole() => Some(a.min(b)),
            (Some(a), Some(b)) => Some(a.earlier_parts(b)),
            (a, b) => a.or(b),
        }
    }

    #[cold]
    fn earlier_parts(self, other: Self) -> Self {
        let whole = Self::earliest(self.beyond_head(), other.beyond_head());
        Self::of_parts(self.min(other), whole)
    }

    /// The later of the two, until the head and beyond it.
    pub(crate) fn or_later(self, other: Self) -> Self {
        if self.is_whole() && other.is_whole() {
            return self.max(other);
        }
        let whole = self.beyond_head().zip(other.beyond_head()).map(|(a, b)| a.max(b));
        Self::of_parts(self.max(other), whole)
    }

    /// Whether `other`, the latest of several with this one, may be another without it.
    pub(crate) fn is_part_of(self, other: Self) -> bool {
        self == other || self.beyond_head() == other.beyond_head()
    }

    /// The instant it stands for.
    #[inline]
    pub const fn instant(self) -> Instant {
        self.head
    }

    /// The time left; zero once it has passed.
    #[inline]
    pub fn remaining(self) -> Duration {
        self.head.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[inline]
    pub fn has_passed(self) -> bool {
        Instant::now() >= self.head
    }

    /// Runs `f` with `ambient` as the ambient deadline, in place of what was there, and restores
    /// that afterwards, also when `f` panics.
    ///
    /// This is how a layer carries its value from `call` to a later poll. It replaces, also by
    /// `None`: a future that is polled from inside another call keeps its own deadline.
    #[inline]
    pub fn with<R>(ambient: Option<Self>, f: impl FnOnce() -> R) -> R {
        let _restore = Restore(AMBIENT.replace(ambient));
        f()
    }

    /// Says to the layers outside that this deadline has ended the call that is being polled. An error of
    /// the user's own, that no layer can look into, does not say so.
    ///
    /// It is seen where the outcome is returned in the same poll, so not through a spawned task.
    pub fn enforced(self) {
        ENFORCED.set(ENFORCED.get().max(Some(self)));
    }

    /// Runs `f` and says which deadline was [enforced](Self::enforced) meanwhile, the latest of several.
    #[inline]
    pub fn watch<R>(f: impl FnOnce() -> R) -> (R, Option<Self>) {
        let restore = RestoreEnforced(ENFORCED.replace(None));
        let result = f();
        let enforced = ENFORCED.get();
        drop(restore);
        (result, enforced)
    }

    /// Says to the layers outside that this deadline came with the request of a call that is being made
    /// under the `ambient` one, and is earlier: the same one on its way, rounded down or less a margin. A
    /// call that it ends is ended by the ambient one.
    ///
    /// It is heard on the same thread, until something else is said.
    #[inline]
    pub fn announces(self, ambient: Self) {
        ANNOUNCED.set(Some((ambient, self)));
    }

    /// What was said last to [announce](Self::announces) this deadline.
    #[inline]
    pub fn announced(self) -> Option<Self> {
        ANNOUNCED.get().filter(|(ambient, _)| *ambient == self).map(|(_, announced)| announced)
    }

    /// Carries the ambient deadline and [criticality](crate::Criticality), as they are now, to
    /// wherever `future` is polled.
    ///
    /// A deadline that ends at the response head holds only while the future is polled inside of the
    /// call that awaits that head. Elsewhere, as in a spawned task or in the body,
    /// [what reaches beyond it](Self::beyond_head) holds.
    ///
    /// ```
    /// # use buttress_core::Deadline;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let limit = Deadline::after(std::time::Duration::from_secs(1));
    /// let seen = limit.around(async {
    ///     let inside = Deadline::scope(async { Deadline::current() });
    ///     tokio::spawn(inside).await.unwrap()
    /// });
    /// assert_eq!(seen.await, Some(limit));
    /// # }
    /// ```
    pub fn scope<F>(future: F) -> Scope<F> {
        Scope::of_all(future)
    }

    /// Runs `future` under this deadline, or under the ambient one if that is earlier, and under the
    /// criticality of whoever polls it.
    ///
    /// Nothing is cut off: the layers inside do that. An ambient deadline that ends at the head holds
    /// as with [`scope`](Self::scope).
    pub fn around<F>(self, future: F) -> Scope<F> {
        Scope::of_deadline(self, future)
    }

    #[inline]
    const fn is_whole(self) -> bool {
        self.beyond_head.0 == Beyond::SAME.0
    }

    /// `head`, and `whole` for the whole call, which is no earlier.
    fn of_parts(head: Self, whole: Option<Self>) -> Self {
        let beyond_head = match whole {
            None => Beyond::NOTHING,
            Some(whole) => {
                let nanos = whole.head.saturating_duration_since(head.head).as_nanos();
                u64::try_from(nanos).map_or(Beyond::NOTHING, Beyond)
            }
        };
        Self { beyond_head, ..head }
    }

    /// A timeout this long, thirty years, never ends: a layer with it has no deadline of its own.
    pub const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
}

impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Self {
        Self::at(instant)
    }
}

impl Beyond {
    /// The whole call has the head's deadline.
    const SAME: Self = Self(0);
    /// The call has no deadline once the head is there.
    const NOTHING: Self = Self(u64::MAX);
}

impl PartialEq for Deadline {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head
    }
}

impl Eq for Deadline {}

impl PartialOrd for Deadline {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Deadline {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head)
    }
}

impl Hash for Deadline {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.head.hash(state);
    }
}

/// Puts the ambient deadline back. It reads nothing, so it is safe at any point of unwinding.
struct Restore(Option<Deadline>);

impl Drop for Restore {
    #[inline]
    fn drop(&mut self) {
        AMBIENT.set(self.0);
    }
}

struct RestoreEnforced(Option<Deadline>);

impl Drop for RestoreEnforced {
    #[inline]
    fn drop(&mut self) {
        ENFORCED.set(self.0);
    }
}

thread_local! {
    // `const` and without a destructor: no lazy initialisation, and usable while a thread ends.
    static AMBIENT: Cell<Option<Deadline>> = const { Cell::new(None) };
    static ENFORCED: Cell<Option<Deadline>> = const { Cell::new(None) };
    // Left as it is by whoever reads it: no two calls have the same deadline to the nanosecond.
    static ANNOUNCED: Cell<Option<(Deadline, Deadline)>> = const { Cell::new(None) };
}

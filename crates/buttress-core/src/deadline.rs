use std::{
    cell::Cell,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::Add,
    time::Duration,
};

use tokio::time::Instant;

use crate::{Scope, moment::Moment};

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
#[derive(Clone, Copy)]
pub struct Deadline {
    /// In force until the response head. Never later than `call`.
    head: Moment,
    /// In force for the whole call; [`Moment::NEVER`] if nothing is.
    call: Moment,
}

impl Deadline {
    /// The deadline at `instant`.
    #[inline]
    pub fn at(instant: Instant) -> Self {
        Self::of(Moment::of(instant))
    }

    /// The deadline `timeout` from now. A timeout of more than thirty years counts as thirty years.
    #[inline]
    pub fn after(timeout: Duration) -> Self {
        Self::from_start(Instant::now(), timeout)
    }

    /// The deadline `timeout` after `start`, with the same bound as [`after`](Self::after).
    #[inline]
    pub fn from_start(start: Instant, timeout: Duration) -> Self {
        Self::of(Moment::of(start).after(timeout.min(Self::NEVER)))
    }

    /// The same deadline, in force until the response head only.
    #[inline]
    #[must_use]
    pub const fn until_head(self) -> Self {
        Self { call: Moment::NEVER, ..self }
    }

    /// The deadline that is in force for the whole call, and so after the response head too. `None` if
    /// everything ends at the head.
    #[inline]
    pub fn beyond_head(self) -> Option<Self> {
        (self.call != Moment::NEVER).then_some(Self::of(self.call))
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
            (Some(a), Some(b)) => Some(Self { head: a.head.min(b.head), call: a.call.min(b.call) }),
            (a, b) => a.or(b),
        }
    }

    /// The later of the two, until the head and beyond it.
    pub(crate) fn or_later(self, other: Self) -> Self {
        Self { head: self.head.max(other.head), call: self.call.max(other.call) }
    }

    /// Whether `other` is no later without this one, which is one of those it is the latest of.
    pub(crate) fn is_part_of(self, other: Self) -> bool {
        self.head == other.head || self.call == other.call
    }

    /// The instant it stands for.
    #[inline]
    pub fn instant(self) -> Instant {
        self.head.instant()
    }

    /// The time left; zero once it has passed.
    #[inline]
    pub fn remaining(self) -> Duration {
        self.head.since(Moment::now())
    }

    /// Whether it has passed.
    #[inline]
    pub fn has_passed(self) -> bool {
        self.head <= Moment::now()
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

    /// When it is in force until, for the timers.
    #[inline]
    pub(crate) const fn moment(self) -> Moment {
        self.head
    }

    #[inline]
    const fn of(moment: Moment) -> Self {
        Self { head: moment, call: moment }
    }

    /// A timeout this long, thirty years, never ends: a layer with it has no deadline of its own.
    pub const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
}

impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Self {
        Self::at(instant)
    }
}

impl Add<Duration> for Deadline {
    type Output = Self;

    /// The deadline that is later by `time`.
    #[inline]
    fn add(self, time: Duration) -> Self {
        Self { head: self.head.after(time), call: self.call.after(time) }
    }
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

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beyond_head = self.beyond_head().map(Self::instant);
        f.debug_struct("Deadline")
            .field("instant", &self.instant())
            .field("beyond_head", &beyond_head)
            .finish()
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
}

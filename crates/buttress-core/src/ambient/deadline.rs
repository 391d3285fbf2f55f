use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// The instant by which a call must have ended.
///
/// A deadline is absolute and ambient. A layer sets it around `call`, around every poll of the
/// future and around every poll of the body. The code inside reads the deadline with
/// [`Deadline::current`]. The deadline only shrinks on the way in: a layer takes the
/// [`earliest`](Self::earliest) of its own and the ambient deadline.
///
/// A second ambient deadline can end at the response head ([`until_head`](Self::until_head)). Code
/// that plans ahead reads the earlier of both with [`current`](Self::current). Code that outlives
/// the head, or announces a deadline to another process, reads [`whole`](Self::whole).
///
/// Setting and restoring the deadline swaps a thread-local cell, without an allocation and without
/// a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias("timeout", "context deadline"))]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline at `instant`.
    #[inline]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// Returns the deadline `timeout` from now. A timeout of more than thirty years counts as
    /// thirty years.
    #[inline]
    pub fn after(timeout: Duration) -> Self {
        Self::from_start(Instant::now(), timeout)
    }

    /// Returns the deadline `timeout` after `start`, with the same bound as [`after`](Self::after).
    #[inline]
    pub fn from_start(start: Instant, timeout: Duration) -> Self {
        let timeout = timeout.min(Self::NEVER);
        Self(start.checked_add(timeout).unwrap_or(start))
    }

    /// Returns the ambient deadline of the call, future or body that runs on this thread.
    ///
    /// Until the response head arrives, this is the earlier of [`whole`](Self::whole) and
    /// [`head`](Self::head).
    #[inline]
    pub fn current() -> Option<Self> {
        Self::earliest(AMBIENT.get(), HEAD.get())
    }

    /// Returns the ambient deadline of the whole call, body included.
    #[inline]
    pub fn whole() -> Option<Self> {
        AMBIENT.get()
    }

    /// Returns the ambient deadline that ends at the response head, if there is one.
    #[inline]
    pub fn head() -> Option<Self> {
        HEAD.get()
    }

    /// Returns the earlier of two deadlines, where `None` is later than any.
    #[inline]
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Returns whether `a` is later than `b`, where `None` is later than any.
    #[inline]
    pub fn is_later(a: Option<Self>, b: Option<Self>) -> bool {
        b.is_some_and(|b| a.is_none_or(|a| a > b))
    }

    /// Returns the instant of the deadline.
    #[inline]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// Returns the time left, or zero if the deadline has passed.
    #[inline]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns whether the deadline has passed.
    #[inline]
    pub fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// Runs `f` with `ambient` as the ambient deadline, and restores the former value, also if `f`
    /// panics.
    ///
    /// A layer carries its deadline from `call` to a later poll this way. `None` replaces the
    /// former deadline too: a future that is polled inside another call keeps its own deadline. A
    /// deadline [until the head](Self::until_head) stays in force.
    #[inline]
    pub fn with<R>(ambient: Option<Self>, f: impl FnOnce() -> R) -> R {
        let _restore = RestoreDeadline(AMBIENT.replace(ambient));
        f()
    }

    /// Runs `f`, which awaits a response head, with this deadline until the head. If the ambient
    /// deadline until the head is earlier, that deadline stays.
    ///
    /// The deadline is not part of [`whole`](Self::whole). So it reaches neither the body, nor a
    /// spawned task, nor the wire.
    #[inline]
    pub fn until_head<R>(self, f: impl FnOnce() -> R) -> R {
        Self::with_head(Self::earliest(Some(self), HEAD.get()), f)
    }

    /// Runs `f` with `head` as the ambient deadline until the head, and restores the former value,
    /// also if `f` panics.
    #[inline]
    pub fn with_head<R>(head: Option<Self>, f: impl FnOnce() -> R) -> R {
        let _restore = RestoreHead(HEAD.replace(head));
        f()
    }

    /// Announces to outer layers that the request of the current call carries this deadline.
    ///
    /// It stands for the ambient deadline of the [whole](Self::whole) call: the same deadline on
    /// the wire, rounded down or less a margin. A rejection with this deadline then counts as a
    /// rejection with the ambient deadline. If this deadline is not earlier, nothing is announced.
    ///
    /// If the ambient deadline itself stands for another, this deadline stands for both,
    /// through up to four layers. The announcement holds on this thread until the next.
    #[inline]
    pub fn announces(self) {
        if let Some(ambient) = Self::whole()
            && self < ambient
        {
            self.link(ambient);
        }
    }

    #[cold]
    fn link(self, ambient: Self) {
        ANNOUNCED.with(|chain| {
            let stands = |link: &Cell<Link>| link.get().is_some_and(|(_, told)| told == ambient);
            let before = chain.iter().position(stands).map_or(0, |place| place + 1);
            // Beyond `MOST_LINKS` layers, the last link is replaced.
            let place = before.min(MOST_LINKS - 1);
            let mut links = chain.iter().skip(place);
            if let Some(link) = links.next() {
                link.set(Some((ambient, self)));
            }
            // Links behind the new one belong to an earlier call.
            links.for_each(|link| link.set(None));
        });
    }

    /// Returns the deadline that was last [announced](Self::announces) for this deadline.
    #[inline]
    pub fn announced(self) -> Option<Self> {
        ANNOUNCED.with(|chain| {
            let links = chain.iter().map_while(Cell::get);
            links.fold(None, |found, (ambient, told)| {
                // Follows the chain: each link starts where the one before ends.
                if ambient == found.unwrap_or(self) { Some(told) } else { found }
            })
        })
    }

    /// A timeout that never ends: thirty years. A layer with this timeout has no deadline of its
    /// own.
    pub const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
}

impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Self {
        Self(instant)
    }
}

/// Restores the ambient deadline. `drop` reads only its own field, which is safe at any point of
/// unwinding.
struct RestoreDeadline(Option<Deadline>);

impl Drop for RestoreDeadline {
    #[inline]
    fn drop(&mut self) {
        AMBIENT.set(self.0);
    }
}

/// Restores the ambient deadline until the head.
struct RestoreHead(Option<Deadline>);

impl Drop for RestoreHead {
    #[inline]
    fn drop(&mut self) {
        HEAD.set(self.0);
    }
}

thread_local! {
    // `const` and without a destructor: there is no lazy initialization, and the cell is usable
    // while a thread ends.
    static AMBIENT: Cell<Option<Deadline>> = const { Cell::new(None) };
    static HEAD: Cell<Option<Deadline>> = const { Cell::new(None) };
    // Readers do not clear this, because no two calls have the same deadline to the nanosecond.
    static ANNOUNCED: [Cell<Link>; MOST_LINKS] = const { [const { Cell::new(None) }; MOST_LINKS] };
}

/// An ambient deadline, and the deadline that the request carries in its place.
type Link = Option<(Deadline, Deadline)>;

const MOST_LINKS: usize = 4;

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// The instant by which a call must have ended.
///
/// A deadline is absolute and ambient. A layer enters it around `call`, around every poll of the
/// future and of the body; whatever runs inside reads it with [`Deadline::current`]. It only ever
/// shrinks on the way in: a layer takes the [`earliest`](Self::earliest) of its own and the ambient
/// one.
///
/// A second ambient deadline can end at the response head ([`until_head`](Self::until_head)). What
/// plans ahead reads the earlier of both with [`current`](Self::current). What outlives the head, or
/// announces a deadline to another process, reads [`whole`](Self::whole).
///
/// Entering and leaving is a swap of a thread-local cell: no allocation, no runtime needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias("timeout", "context deadline"))]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline at `instant`.
    #[inline]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
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
        Self(start.checked_add(timeout).unwrap_or(start))
    }

    /// The ambient deadline: that of the call, future or body being run on this thread. While a response
    /// head is awaited, it is the earlier of [`whole`](Self::whole) and [`head`](Self::head).
    #[inline]
    pub fn current() -> Option<Self> {
        Self::earliest(AMBIENT.get(), HEAD.get())
    }

    /// The ambient deadline of the whole call, body included.
    #[inline]
    pub fn whole() -> Option<Self> {
        AMBIENT.get()
    }

    /// The ambient deadline that ends at the response head, if there is one.
    #[inline]
    pub fn head() -> Option<Self> {
        HEAD.get()
    }

    /// The earlier of two deadlines, where `None` is later than any.
    #[inline]
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether `a` is later than `b`, where `None` is later than any.
    #[inline]
    pub fn is_later(a: Option<Self>, b: Option<Self>) -> bool {
        b.is_some_and(|b| a.is_none_or(|a| a > b))
    }

    /// The instant it stands for.
    #[inline]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// The time left; zero once it has passed.
    #[inline]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[inline]
    pub fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// Runs `f` with `ambient` as the ambient deadline, in place of what was there, and restores
    /// that afterwards, also when `f` panics.
    ///
    /// This is how a layer carries its value from `call` to a later poll. It replaces, also by
    /// `None`: a future that is polled from inside another call keeps its own deadline. A deadline
    /// [until the head](Self::until_head) stays in force.
    #[inline]
    pub fn with<R>(ambient: Option<Self>, f: impl FnOnce() -> R) -> R {
        let _restore = Restore(AMBIENT.replace(ambient));
        f()
    }

    /// Runs `f`, which awaits a response head, with this as the deadline until the head, or with the one
    /// that is ambient if that is earlier.
    ///
    /// It is no part of [`whole`](Self::whole). So it reaches neither the body, nor a spawned task, nor
    /// the wire.
    #[inline]
    pub fn until_head<R>(self, f: impl FnOnce() -> R) -> R {
        Self::with_head(Self::earliest(Some(self), HEAD.get()), f)
    }

    /// Runs `f` with `head` as the deadline until the head, in place of what was there.
    #[inline]
    pub fn with_head<R>(head: Option<Self>, f: impl FnOnce() -> R) -> R {
        let _restore = RestoreHead(HEAD.replace(head));
        f()
    }

    /// Says to the layers outside that this deadline came with the request of the call that is being made,
    /// in place of the ambient one of the [whole](Self::whole) call: the same one on its way, rounded down or
    /// less a margin. A call that it ends is ended by the ambient one. If it is not the earlier, nothing is
    /// said.
    ///
    /// If the ambient one stands for another in this way, this deadline stands for both, through up to
    /// four layers. It is heard on the same thread, until something else is said.
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
            // One layer too many is said in place of the last.
            let place = before.min(MOST_LINKS - 1);
            let mut links = chain.iter().skip(place);
            if let Some(link) = links.next() {
                link.set(Some((ambient, self)));
            }
            links.for_each(|link| link.set(None));
        });
    }

    /// What was said last to [announce](Self::announces) this deadline.
    #[inline]
    pub fn announced(self) -> Option<Self> {
        ANNOUNCED.with(|chain| {
            let links = chain.iter().map_while(Cell::get);
            links.fold(
                None,
                |found, (ambient, told)| {
                    if ambient == found.unwrap_or(self) { Some(told) } else { found }
                },
            )
        })
    }

    /// A timeout this long, thirty years, never ends: a layer with it has no deadline of its own.
    pub const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
}

impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Self {
        Self(instant)
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

struct RestoreHead(Option<Deadline>);

impl Drop for RestoreHead {
    #[inline]
    fn drop(&mut self) {
        HEAD.set(self.0);
    }
}

thread_local! {
    // `const` and without a destructor: no lazy initialisation, and usable while a thread ends.
    static AMBIENT: Cell<Option<Deadline>> = const { Cell::new(None) };
    static HEAD: Cell<Option<Deadline>> = const { Cell::new(None) };
    // Left as it is by the reader: no two calls have the same deadline to the nanosecond.
    static ANNOUNCED: [Cell<Link>; MOST_LINKS] = const { [const { Cell::new(None) }; MOST_LINKS] };
}

/// An ambient deadline, and the one that came with the request in its place.
type Link = Option<(Deadline, Deadline)>;

const MOST_LINKS: usize = 4;

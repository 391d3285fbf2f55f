use std::cell::Cell;

/// How much it matters that a call is served, ambient like the [`Deadline`](crate::Deadline).
///
/// Under overload the lowest is shed first. It is the caller's word, so it goes along with every call
/// that serves the first: a backend must not shed what its caller needs most. The four levels are
/// those of [Google's SRE book, "Handling Overload", section "Criticality"][book].
///
/// [book]: https://sre.google/sre-book/handling-overload/#criticality
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias("priority", "load shedding"))]
pub enum Criticality {
    /// Being refused often, and now and then for long, is expected.
    Sheddable,
    /// Being refused now and then is expected: batch work, which comes again in minutes or hours.
    SheddablePlus,
    /// Users notice when it fails. What is ambient where nobody said anything.
    #[default]
    Critical,
    /// Users notice badly when it fails. Capacity must suffice for this and `Critical` together.
    CriticalPlus,
}

impl Criticality {
    /// All of them, the lowest first.
    pub const ALL: [Self; 4] =
        [Self::Sheddable, Self::SheddablePlus, Self::Critical, Self::CriticalPlus];

    /// The ambient criticality.
    #[inline]
    pub fn current() -> Self {
        AMBIENT.get()
    }

    /// Its place in [`ALL`](Self::ALL), from 0.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The words it is written in: `sheddable`, `sheddable-plus`, `critical`, `critical-plus`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::SheddablePlus => "sheddable-plus",
            Self::Critical => "critical",
            Self::CriticalPlus => "critical-plus",
        }
    }

    /// The one that `words`, in letters of either case, stand for; `None` for any others.
    pub fn parse(words: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|criticality| words.eq_ignore_ascii_case(criticality.as_str().as_bytes()))
    }

    /// Runs `f` with this as the ambient criticality and restores what was there, also on panic.
    #[inline]
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        // Also if it is the same: `f` stands here once, so that it can be inlined.
        let _restore = Restore(AMBIENT.replace(self));
        f()
    }
}

struct Restore(Criticality);

impl Drop for Restore {
    #[inline]
    fn drop(&mut self) {
        AMBIENT.set(self.0);
    }
}

thread_local! {
    static AMBIENT: Cell<Criticality> = const { Cell::new(Criticality::Critical) };
}

use std::cell::Cell;

/// The criticality of a call, ambient like the [`Deadline`](crate::Deadline).
///
/// Under overload, layers shed the lowest level first. The caller sets the level, and every call
/// made on behalf of the first call inherits the level. Otherwise a backend could shed the call
/// that its caller needs most. The four levels are those of [Google's SRE book, chapter Handling
/// Overload, section Criticality][book].
///
/// [book]: https://sre.google/sre-book/handling-overload/#criticality
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias("priority", "load shedding"))]
pub enum Criticality {
    /// Frequent partial unavailability and occasional full unavailability are expected.
    Sheddable,
    /// Partial unavailability is expected: batch work that is retried after minutes or hours.
    SheddablePlus,
    /// A failure is visible to users. The default, ambient if no level was set.
    #[default]
    Critical,
    /// A failure has a serious impact on users. Capacity must suffice for this level and `Critical`
    /// together.
    CriticalPlus,
}

impl Criticality {
    /// All levels, the lowest first.
    pub const ALL: [Self; 4] =
        [Self::Sheddable, Self::SheddablePlus, Self::Critical, Self::CriticalPlus];

    /// Returns the ambient criticality.
    #[inline]
    pub fn current() -> Self {
        AMBIENT.get()
    }

    /// Returns the index in [`ALL`](Self::ALL), from 0.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the name on the wire: `sheddable`, `sheddable-plus`, `critical` or `critical-plus`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::SheddablePlus => "sheddable-plus",
            Self::Critical => "critical",
            Self::CriticalPlus => "critical-plus",
        }
    }

    /// Returns the level with this name, in upper or lower case. `None` for any other text.
    pub fn parse(words: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|criticality| words.eq_ignore_ascii_case(criticality.as_str().as_bytes()))
    }

    /// Runs `f` with this as the ambient criticality, and restores the former value, also if `f`
    /// panics.
    #[inline]
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        // Also if the level is the same: with a branch, `f` would stand here twice and not be
        // inlined.
        let _restore = RestoreCriticality(AMBIENT.replace(self));
        f()
    }
}

/// Restores the ambient criticality. `drop` reads only its own field, which is safe at any point of
/// unwinding.
struct RestoreCriticality(Criticality);

impl Drop for RestoreCriticality {
    #[inline]
    fn drop(&mut self) {
        AMBIENT.set(self.0);
    }
}

thread_local! {
    // `const` and without a destructor, as in `deadline.rs`: the cell is usable while a thread
    // ends.
    static AMBIENT: Cell<Criticality> = const { Cell::new(Criticality::Critical) };
}

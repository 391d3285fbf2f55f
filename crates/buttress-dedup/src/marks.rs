use buttress_core::{Deadline, GaveUp};

/// What the layers inside say beside an outcome, to the layers outside of each caller who gets it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// One has given up.
    gave_up: bool,
    /// The deadline that one has enforced.
    pub(crate) enforced: Option<Deadline>,
}

impl Marks {
    /// Runs `f`, and keeps what is said meanwhile.
    #[inline]
    pub(crate) fn watch<R>(f: impl FnOnce() -> R) -> (R, Self) {
        let ((result, gave_up), enforced) = Deadline::watch(|| GaveUp::watch(f));
        (result, Self { gave_up, enforced })
    }

    /// Says it once more.
    #[inline]
    pub(crate) fn leave(self) {
        if self.gave_up {
            GaveUp::mark();
        }
        if let Some(deadline) = self.enforced {
            deadline.enforced();
        }
    }
}

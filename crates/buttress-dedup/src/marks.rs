use buttress_core::{Deadline, GaveUp};

/// What the layers inside say beside an outcome, to the layers outside of each caller who gets it.
///
/// Of hardly any call they say anything, so it lies in a box: what is passed on with every outcome is one
/// word.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(Option<Box<Said>>);

#[derive(Clone, Copy, Debug, Default)]
struct Said {
    /// One has given up.
    gave_up: bool,
    /// The deadline that one has enforced.
    enforced: Option<Deadline>,
}

impl Marks {
    /// Runs `f`, and keeps what is said meanwhile.
    #[inline]
    pub(crate) fn watch<R>(f: impl FnOnce() -> R) -> (R, Self) {
        let ((result, gave_up), enforced) = Deadline::watch(|| GaveUp::watch(f));
        let is_said = gave_up || enforced.is_some();
        (result, if is_said { Self::of(gave_up, enforced) } else { Self(None) })
    }

    #[cold]
    fn of(gave_up: bool, enforced: Option<Deadline>) -> Self {
        Self(Some(Box::new(Said { gave_up, enforced })))
    }

    /// The deadline that was enforced.
    pub(crate) fn enforced(&self) -> Option<Deadline> {
        self.0.as_ref().and_then(|said| said.enforced)
    }

    /// This deadline was enforced, or the later one that was.
    pub(crate) fn enforce(&mut self, deadline: Option<Deadline>) {
        let said = self.0.get_or_insert_default();
        said.enforced = said.enforced.max(deadline);
    }

    /// Says it once more.
    #[inline]
    pub(crate) fn leave(&self) {
        if let Some(said) = &self.0 {
            said.leave();
        }
    }
}

impl Said {
    #[cold]
    fn leave(&self) {
        if self.gave_up {
            GaveUp::mark();
        }
        if let Some(deadline) = self.enforced {
            deadline.enforced();
        }
    }
}

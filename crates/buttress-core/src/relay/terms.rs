use crate::{Criticality, Deadline};

/// On what terms somebody waits: until when, and how much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `None` is later than any deadline.
    pub deadline: Option<Deadline>,
    /// How much it matters.
    pub criticality: Criticality,
}

impl Terms {
    /// What is ambient now.
    #[inline]
    pub fn current() -> Self {
        Self { deadline: Deadline::current(), criticality: Criticality::current() }
    }

    /// The terms that hold once the response head is there.
    #[inline]
    #[must_use]
    pub fn beyond_head(self) -> Self {
        Self { deadline: self.deadline.and_then(Deadline::beyond_head), ..self }
    }

    /// Runs `f` with these terms as the ambient ones.
    #[inline]
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        Deadline::with(self.deadline, || self.criticality.with(f))
    }
}

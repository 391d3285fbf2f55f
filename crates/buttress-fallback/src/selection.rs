use std::{fmt, sync::Arc};

use buttress_core::{Reason, Verdict};

/// The verdicts that a layer answers.
#[derive(Clone, Default)]
pub(crate) enum Selection {
    /// The table of the crate docs.
    #[default]
    Failures,
    /// Those that the user's closure accepts.
    Chosen(Arc<dyn Fn(Verdict) -> bool + Send + Sync>),
}

impl Selection {
    /// Returns whether an outcome with this verdict is answered. A success never is, so that a
    /// closure which names the exceptions only cannot replace good responses.
    #[inline]
    pub(crate) fn contains(&self, verdict: Verdict) -> bool {
        !matches!(verdict, Verdict::Success) && self.contains_failure(verdict)
    }

    #[cold]
    fn contains_failure(&self, verdict: Verdict) -> bool {
        match (self, verdict) {
            (Self::Chosen(is_chosen), _) => is_chosen(verdict),
            (Self::Failures, Verdict::Permanent) => false,
            (Self::Failures, Verdict::Rejected { reason, .. }) => {
                !matches!(reason, Reason::Superseded | Reason::NeverAdmissible)
            }
            (Self::Failures, _) => true,
        }
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failures => "Failures",
            Self::Chosen(_) => "Chosen",
        })
    }
}

use buttress_core::Deadline;

use crate::settings::Extent;

/// Until when a call, or the body of its response, may go on.
#[derive(Debug)]
pub(crate) enum Limit {
    Never,
    /// Until a deadline that is ambient inside too.
    At(Deadline),
    /// Until a deadline that is not what is ambient inside. Boxed: it is rare, and a call is moved.
    Apart(Box<Apart>),
}

/// A deadline that is only observed, or that ends at the response head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apart {
    /// `None` once it has passed and was only observed, and beyond the head.
    pub(crate) deadline: Option<Deadline>,
    pub(crate) inside: Inside,
}

/// What is ambient inside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inside {
    /// What is ambient outside. The deadline is only observed.
    Outside,
    /// What was `inherited` for the whole call, and a deadline until the `head` only.
    Call { inherited: Option<Deadline>, head: Option<Deadline> },
}

impl Limit {
    #[inline]
    pub(crate) fn of(deadline: Option<Deadline>) -> Self {
        deadline.map_or(Self::Never, Self::At)
    }

    /// The deadline that is enforced, or observed.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Apart(apart) => apart.deadline,
            Self::Never | Self::At(_) => self.usual(),
        }
    }

    /// The deadline that the service has been told.
    pub(crate) fn announced(&self) -> Option<Deadline> {
        match self {
            Self::Apart(apart) => match apart.inside {
                Inside::Outside => None,
                Inside::Call { inherited, .. } => inherited,
            },
            _ => self.deadline(),
        }
    }

    /// The deadline, unless it acts apart.
    #[inline]
    fn usual(&self) -> Option<Deadline> {
        match self {
            Self::At(deadline) => Some(*deadline),
            Self::Never | Self::Apart(_) => None,
        }
    }

    /// Runs `f` with what is ambient inside.
    #[inline]
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        match self {
            Self::Never | Self::At(_) => Deadline::with(self.usual(), f),
            // Out of line: `f` is a whole call, which the usual way must not be compiled around.
            Self::Apart(apart) => apart.within(f),
        }
    }
}

impl Apart {
    /// What is left of it once the head is there. `None` if that is nothing.
    #[cold]
    pub(crate) fn beyond_head(self, extent: Extent) -> Option<Self> {
        let deadline = self.deadline.filter(|_| extent == Extent::Body);
        let inside = match self.inside {
            Inside::Outside => Inside::Outside,
            Inside::Call { inherited, .. } => Inside::Call { inherited, head: None },
        };
        let is_ambient = matches!(inside, Inside::Call { inherited: Some(_), .. });
        (deadline.is_some() || is_ambient).then_some(Self { deadline, inside })
    }

    #[cold]
    #[inline(never)]
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.inside {
            Inside::Outside => f(),
            Inside::Call { inherited, head } => {
                let head = Deadline::earliest(head, Deadline::head());
                Deadline::with(inherited, || Deadline::with_head(head, f))
            }
        }
    }
}

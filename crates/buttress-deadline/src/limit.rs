use buttress_core::Deadline;

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
    /// What is ambient inside for the whole call, and what the service has been told.
    pub(crate) inherited: Option<Deadline>,
    /// What is ambient inside until the head only.
    pub(crate) head: Option<Deadline>,
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
            Self::Never => None,
            Self::At(deadline) => Some(*deadline),
            Self::Apart(apart) => apart.deadline,
        }
    }

    /// The deadline that the service has been told.
    pub(crate) fn announced(&self) -> Option<Deadline> {
        match self {
            Self::Apart(apart) => apart.inherited,
            _ => self.deadline(),
        }
    }

    /// Runs `f` with what is ambient inside.
    #[inline]
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        match self {
            Self::Never => Deadline::with(None, f),
            Self::At(deadline) => Deadline::with(Some(*deadline), f),
            Self::Apart(apart) => apart.within(f),
        }
    }
}

impl Apart {
    #[cold]
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        Deadline::with(self.inherited, || match self.head {
            Some(head) => head.until_head(f),
            None => f(),
        })
    }
}

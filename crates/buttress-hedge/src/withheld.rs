use std::fmt;

/// The reason why a hedge was not sent.
///
/// A call counts for one reason at most, because a hedge that is withheld ends the hedging of its
/// call. [`NotReplayable`](Self::NotReplayable) of a request that was not kept,
/// [`NotIdempotent`](Self::NotIdempotent) and [`Deadline`](Self::Deadline) are known before the delay
/// has passed. They count when the call waits for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WithheldReason {
    /// The request cannot be sent again now: it was not kept, or a try still reads its body.
    NotReplayable,
    /// Sending the request twice may be harmful.
    NotIdempotent,
    /// The budget of the layer is empty.
    BudgetEmpty,
    /// The budget that is shared with other layers is empty.
    SharedBudgetEmpty,
    /// The deadline passes before the hedge would be sent.
    Deadline,
    /// The service asked for less load, and named no time for the next try that fits.
    Throttled,
}

impl WithheldReason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::NotReplayable,
        Self::NotIdempotent,
        Self::BudgetEmpty,
        Self::SharedBudgetEmpty,
        Self::Deadline,
        Self::Throttled,
    ];

    /// Returns the reason in `snake_case`, as in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotReplayable => "not_replayable",
            Self::NotIdempotent => "not_idempotent",
            Self::BudgetEmpty => "budget_empty",
            Self::SharedBudgetEmpty => "shared_budget_empty",
            Self::Deadline => "deadline",
            Self::Throttled => "throttled",
        }
    }

    /// The place in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const COUNT: usize = Self::ALL.len();
}

impl fmt::Display for WithheldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The number of calls whose hedge was withheld, by [`WithheldReason`].
///
/// `Debug` prints only the reasons whose number is not zero. To build an expected value, write
/// `WithheldCounts::from([(WithheldReason::BudgetEmpty, 1)])`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct WithheldCounts {
    counts: [u64; WithheldReason::COUNT],
}

impl WithheldCounts {
    /// Returns the number of calls whose hedge was withheld for `reason`.
    pub fn get(&self, reason: WithheldReason) -> u64 {
        self.counts.get(reason.index()).copied().unwrap_or(0)
    }
}

impl FromIterator<(WithheldReason, u64)> for WithheldCounts {
    /// Adds the numbers of the same reason.
    fn from_iter<I: IntoIterator<Item = (WithheldReason, u64)>>(counts: I) -> Self {
        let mut all = Self::default();
        for (reason, count) in counts {
            if let Some(sum) = all.counts.get_mut(reason.index()) {
                *sum = sum.saturating_add(count);
            }
        }
        all
    }
}

impl<const N: usize> From<[(WithheldReason, u64); N]> for WithheldCounts {
    fn from(counts: [(WithheldReason, u64); N]) -> Self {
        counts.into_iter().collect()
    }
}

impl fmt::Debug for WithheldCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = WithheldReason::ALL.iter().map(|reason| (reason, self.get(*reason)));
        f.debug_map().entries(all.filter(|(_, count)| *count > 0)).finish()
    }
}

use std::fmt;

use crate::StopReason;

/// The number of calls that ended without a further attempt, by [`StopReason`].
///
/// `Debug` prints only the reasons whose number is not zero. To build an expected value, write
/// `StopCounts::from([(StopReason::BudgetEmpty, 1)])`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct StopCounts {
    counts: [u64; StopReason::ALL.len()],
}

impl StopCounts {
    /// Returns the number of calls that stopped for `reason`.
    pub fn get(&self, reason: StopReason) -> u64 {
        self.counts.get(reason.index()).copied().unwrap_or(0)
    }
}

impl FromIterator<(StopReason, u64)> for StopCounts {
    /// Adds the numbers of the same reason.
    fn from_iter<I: IntoIterator<Item = (StopReason, u64)>>(counts: I) -> Self {
        let mut all = Self::default();
        for (reason, count) in counts {
            if let Some(sum) = all.counts.get_mut(reason.index()) {
                *sum = sum.saturating_add(count);
            }
        }
        all
    }
}

impl<const N: usize> From<[(StopReason, u64); N]> for StopCounts {
    fn from(counts: [(StopReason, u64); N]) -> Self {
        counts.into_iter().collect()
    }
}

impl fmt::Debug for StopCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = StopReason::ALL.iter().map(|reason| (reason, self.get(*reason)));
        f.debug_map().entries(all.filter(|(_, count)| *count > 0)).finish()
    }
}

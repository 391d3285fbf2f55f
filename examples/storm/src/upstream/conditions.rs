//! The conditions: the faults and the outages of a network.

use std::time::Duration;

use clap::ValueEnum;

/// The faults and the outages of a network.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Conditions {
    /// A fifth of the requests meets a fault, and there is an outage every 5 s.
    Storm,
    /// One outage of 10 s: all connections are reset, and later requests get no response. No other faults.
    DeadUpstream,
    /// One response in a hundred takes ten times as long.
    SlowTail,
}

impl Conditions {
    /// The word for [`Conditions`] on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Storm => "storm",
            Self::DeadUpstream => "dead-upstream",
            Self::SlowTail => "slow-tail",
        }
    }

    /// Returns the start and the end of each outage, since the start of the run, in order.
    pub(crate) fn outages(self) -> impl Iterator<Item = (Duration, Duration)> {
        let (first, interval, length) = match self {
            Self::Storm => (Some(FIRST_OUTAGE), Some(OUTAGE_INTERVAL), OUTAGE_LENGTH),
            Self::DeadUpstream => (Some(DEAD_FROM), None, DEAD_LENGTH),
            Self::SlowTail => (None, None, Duration::ZERO),
        };
        std::iter::successors(first, move |start| Some(*start + interval?))
            .map(move |start| (start, start + length))
    }

    /// Whether the time `since` the start of the run is in an outage.
    pub(crate) fn is_outage(self, since: Duration) -> bool {
        let begun = self.outages().take_while(|(start, _)| *start <= since);
        begun.last().is_some_and(|(_, end)| since < end)
    }
}

/// The start and the end of the outage of [`Conditions::DeadUpstream`].
pub(crate) const DEAD_FROM: Duration = Duration::from_secs(3);
pub(crate) const DEAD_UNTIL: Duration = DEAD_FROM.saturating_add(DEAD_LENGTH);
const DEAD_LENGTH: Duration = Duration::from_secs(10);

const FIRST_OUTAGE: Duration = Duration::from_millis(2_500);
const OUTAGE_INTERVAL: Duration = Duration::from_secs(5);
const OUTAGE_LENGTH: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_outages(conditions: Conditions, expected: &[(u64, bool)]) {
        for &(millis, expected) in expected {
            let since = Duration::from_millis(millis);
            assert_eq!(conditions.is_outage(since), expected, "{conditions:?} at {millis} ms");
        }
    }

    #[test]
    fn outage_of_the_storm_lasts_300_ms_every_5_s_from_2500_ms_on() {
        let expected = [(0, false), (2_499, false), (2_500, true), (2_799, true), (2_800, false)];
        assert_outages(Conditions::Storm, &expected);
        assert_outages(Conditions::Storm, &[(7_499, false), (7_500, true), (7_800, false)]);
    }

    #[test]
    fn dead_upstream_is_dead_for_10_s_and_never_again() {
        let expected = [(2_999, false), (3_000, true), (12_999, true), (13_000, false)];
        assert_outages(Conditions::DeadUpstream, &expected);
        assert_outages(Conditions::DeadUpstream, &[(26_000, false), (86_400_000, false)]);
    }

    #[test]
    fn slow_tail_has_no_outage() {
        assert_outages(Conditions::SlowTail, &[(0, false), (2_500, false), (60_000, false)]);
    }

    #[test]
    fn command_line_reads_the_word_of_each_condition() {
        for conditions in Conditions::value_variants() {
            assert_eq!(Conditions::from_str(conditions.as_str(), false), Ok(*conditions));
        }
    }
}

//! The reports of all replicas, taken together.

use std::{ops::Range, time::Duration};

use crate::job::{Call, Counts, Report};
use crate::replay;

/// What the fleet did in a part of the example.
pub(crate) struct Run {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
    pub(crate) reports: Vec<Report>,
}

impl Run {
    pub(crate) fn calls(&self) -> impl Iterator<Item = Call> {
        self.reports.iter().flat_map(|report| report.calls.iter().copied())
    }

    /// Returns the number of calls for which `holds`.
    pub(crate) fn count(&self, holds: impl Fn(Call) -> bool) -> u64 {
        self.calls().map(|call| u64::from(holds(call))).sum()
    }

    /// Returns the sorted times at which the service saw calls, in microseconds since the start.
    pub(crate) fn admissions(&self) -> Vec<u64> {
        let admitted = self.calls().filter(|call| call.is_admitted());
        sorted(admitted.map(|call| call.0))
    }

    /// Returns by how many calls the fleet exceeded the rate and the burst.
    pub(crate) fn excess(&self) -> f64 {
        replay::excess(self.admissions(), self.rate, self.burst)
    }

    /// Returns how many calls more the fleet may admit because the store did not reply in time to some replicas.
    ///
    /// A replica that is cut off alone admits its share, and the others the whole rate. Times when all are cut
    /// off count only outside of `outage`.
    pub(crate) fn cut_off(&self, outage: Range<u64>) -> f64 {
        let replicas = ratio(self.reports.len() as u64, 1);
        let (rate, burst) = (f64::from(self.rate) / replicas, f64::from(self.burst) / replicas);
        let more = |&(from, to): &(u64, u64)| {
            let is_outage = from <= outage.end && to >= outage.start;
            let inside = to.min(outage.end).saturating_sub(from.max(outage.start));
            let outside = if is_outage { to - from - inside } else { to - from };
            let share = if is_outage { 0.0 } else { burst };
            share + rate * Duration::from_micros(outside).as_secs_f64()
        };
        self.reports.iter().flat_map(|report| &report.away).map(more).sum()
    }

    /// Whether the store was too slow for a replica, or the machine stood still.
    pub(crate) fn is_disturbed(&self) -> bool {
        let is_away = self.reports.iter().any(|report| !report.away.is_empty());
        is_away || self.calls().any(|call| call.took() > STOOD_STILL)
    }

    /// Returns the part admitted of what one bucket in one process would admit of the same calls.
    pub(crate) fn admitted_part(&self) -> f64 {
        let admissible =
            replay::admissible(sorted(self.calls().map(Call::began)), self.rate, self.burst);
        ratio(self.count(Call::is_admitted), admissible)
    }

    pub(crate) fn trips_per_admission(&self) -> f64 {
        ratio(self.sum(|counts| counts.trips), self.sum(|counts| counts.admitted))
    }

    pub(crate) fn sum(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.reports.iter().map(|report| count(&report.counts)).sum()
    }

    /// Returns the sorted times of the decisions of the calls that began in this time.
    pub(crate) fn decisions(&self, began: Range<u64>) -> Vec<Duration> {
        sorted(self.calls().filter(|call| began.contains(&call.began())).map(Call::took))
    }

    /// Returns the number of tasks that outlived the layers and the clients of all replicas.
    pub(crate) fn tasks_left(&self) -> usize {
        self.reports.iter().map(|report| report.tasks_left).sum()
    }
}

/// Returns the percentile by nearest rank.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer calls than 2⁵²")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// More than a decision takes while the store lives.
const STOOD_STILL: Duration = Duration::from_millis(20);

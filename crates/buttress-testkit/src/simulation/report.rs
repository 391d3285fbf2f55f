use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use buttress_core::Verdict;

use super::record::{CallOutcome, Record};
use super::second::Second;

/// The outcomes of the calls of a [`Load`](crate::Load).
///
/// A call belongs to the instant at which it began, and an upstream call to that at which it was
/// sent. The `Display` of a report is a table with a line for each second.
#[derive(Clone)]
pub struct LoadReport {
    seed: Option<u64>,
    range: Range<Duration>,
    records: Vec<Record>,
    /// The calls that reached the upstream. `None` if the load has no upstream.
    sent: Option<Vec<Duration>>,
}

impl LoadReport {
    pub(super) fn new(
        seed: Option<u64>,
        length: Duration,
        records: Vec<Record>,
        sent: Option<Vec<Duration>>,
    ) -> Self {
        // The retries of the last calls are sent after the load.
        Self { seed, range: Duration::ZERO..length, records, sent }
    }

    /// Returns the seed of the simulation, or `None` outside of a simulation.
    pub const fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Returns the report of the calls that began at `from` or later, and before `to`. Times are
    /// since the start of the load.
    pub fn between(&self, from: Duration, to: Duration) -> Self {
        let range = from..to;
        let is_in = |record: &&Record| range.contains(&record.began);
        let records = self.records.iter().filter(is_in).copied().collect();
        let sent = self
            .sent
            .as_ref()
            .map(|sent| sent.iter().copied().filter(|call| range.contains(call)).collect());
        Self { seed: self.seed, range, records, sent }
    }

    /// Returns the number of calls that began.
    pub const fn offered(&self) -> usize {
        self.records.len()
    }

    /// Returns the number of calls whose verdict is [`Success`](Verdict::Success).
    pub fn served(&self) -> usize {
        self.count(|end| end == CallOutcome::Judged(Verdict::Success))
    }

    /// Returns the number of calls whose verdict is another one.
    pub fn failed(&self) -> usize {
        self.count(|end| matches!(end, CallOutcome::Judged(verdict) if verdict != Verdict::Success))
    }

    /// Returns the number of calls that the caller dropped.
    pub fn abandoned(&self) -> usize {
        self.count(|end| end == CallOutcome::Abandoned)
    }

    /// Returns the number of calls that had not ended when the load was over.
    pub fn unfinished(&self) -> usize {
        self.count(|end| end == CallOutcome::Unfinished)
    }

    /// Returns the number of failed calls for each verdict, such as `transient` or `rejected by
    /// throttle`.
    pub fn failures(&self) -> BTreeMap<String, usize> {
        let mut failures = BTreeMap::new();
        for record in &self.records {
            if let CallOutcome::Judged(verdict) = record.end
                && verdict != Verdict::Success
            {
                *failures.entry(name(verdict)).or_default() += 1;
            }
        }
        failures
    }

    /// Returns the number of calls that were sent to the upstream, or 0 if the load has no
    /// upstream.
    pub fn sent(&self) -> usize {
        self.sent.as_ref().map_or(0, Vec::len)
    }

    /// Returns the share of the offered calls that were served, or NaN if no call was offered.
    pub fn goodput(&self) -> f64 {
        ratio(self.served(), self.offered())
    }

    /// Returns the number of calls sent to the upstream for each offered call.
    ///
    /// NaN if no call was offered, or if the load has no [upstream](crate::Load::upstream).
    pub fn amplification(&self) -> f64 {
        self.sent.as_ref().map_or(f64::NAN, |sent| ratio(sent.len(), self.offered()))
    }

    /// Returns the largest [amplification](Self::amplification) of all windows of this length that
    /// begin at a whole second and end before the end of the load, or NaN if there is none.
    pub fn worst_amplification(&self, window: Duration) -> f64 {
        let windows = self.starts().map(|from| from..from.saturating_add(window));
        let whole = windows.take_while(|window| window.end <= self.range.end);
        whole
            .map(|window| self.between(window.start, window.end).amplification())
            .fold(f64::NAN, f64::max)
    }

    /// Returns the latency that this share of the served calls did not exceed, or `None` if none
    /// was served. A share of 0.5 is the median.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a float cast saturates, and the index is clamped"
    )]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let served = |record: &&Record| record.end == CallOutcome::Judged(Verdict::Success);
        let mut took: Vec<_> =
            self.records.iter().filter(served).map(|record| record.took).collect();
        took.sort_unstable();
        let rank = (took.len() as f64 * share).ceil() as usize;
        took.get(rank.clamp(1, took.len().max(1)) - 1).copied()
    }

    /// Returns the time from `after` to the first second of full service that lasts 3 s, or `None`
    /// if the load ended before.
    ///
    /// Full service means that at least 95 % of the calls that begin in each of the seconds are
    /// served.
    pub fn recovery(&self, after: Duration) -> Option<Duration> {
        let mut lasting = 0;
        for number in 0.. {
            let from = after.saturating_add(SECOND * number);
            let to = from.saturating_add(SECOND);
            if to > self.range.end {
                return None;
            }
            lasting =
                if self.between(from, to).goodput() >= FULL_SERVICE { lasting + 1 } else { 0 };
            if lasting == LASTING {
                return Some(SECOND * (number + 1 - LASTING));
            }
        }
        None
    }

    /// Returns the counts of each second.
    pub fn seconds(&self) -> impl Iterator<Item = Second> {
        self.starts().map(|from| {
            let to = from.saturating_add(SECOND).min(self.range.end);
            let second = self.between(from, to);
            Second {
                from,
                offered: second.offered(),
                served: second.served(),
                failed: second.failures(),
                abandoned: second.abandoned(),
                unfinished: second.unfinished(),
                sent: second.sent(),
                p50: second.quantile(0.5),
                p99: second.quantile(0.99),
            }
        })
    }

    /// Returns the start of each second.
    fn starts(&self) -> impl Iterator<Item = Duration> {
        let Range { start, end } = self.range;
        (0..)
            .map(move |number| start.saturating_add(SECOND * number))
            .take_while(move |from| *from < end)
    }

    fn count(&self, is_counted: impl Fn(CallOutcome) -> bool) -> usize {
        self.records.iter().filter(|record| is_counted(record.end)).count()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "second offered  served  failed    sent      p50      p99")?;
        for second in self.seconds() {
            writeln!(f, "{second}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn name(verdict: Verdict) -> String {
    match verdict {
        Verdict::Success => "success",
        Verdict::Transient => "transient",
        Verdict::TimedOut => "timed out",
        Verdict::Throttled(_) => "throttled",
        Verdict::Permanent => "permanent",
        Verdict::Expired => "expired",
        Verdict::NeverProcessed => "never processed",
        Verdict::Rejected { by, .. } => return format!("rejected by {by}"),
        _ => "unknown",
    }
    .to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}

const SECOND: Duration = Duration::from_secs(1);
const FULL_SERVICE: f64 = 0.95;
const LASTING: u32 = 3;

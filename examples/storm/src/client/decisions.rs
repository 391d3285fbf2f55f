//! The counts of a client's layers.

use std::collections::BTreeMap;
use std::time::Duration;

use buttress::HedgeHandle;
use serde::Serialize;

use crate::report::row::millis;

/// The counts of a client's layers.
#[derive(Clone, Debug)]
pub(crate) struct Decisions {
    /// Calls of the retry layer: up to three per operation, minus the calls that dedup answered.
    pub(crate) calls: u64,
    pub(crate) dedup: DedupCounts,
    pub(crate) retries: u64,
    /// Retries by the verdict on the previous attempt.
    pub(crate) retries_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) stops: BTreeMap<&'static str, u64>,
    /// `None` if the client has no hedge.
    pub(crate) hedge: Option<HedgeCounts>,
    pub(crate) throttled: ThrottleCounts,
    /// Attempts that exceeded their deadline.
    pub(crate) attempt_timeouts: u64,
    pub(crate) deadline: Duration,
    /// Retries that the budget allows per 100 calls.
    pub(crate) percent: u32,
}

/// The calls that dedup answered without an inner call.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct DedupCounts {
    /// Calls that joined a flight.
    pub(crate) followers: u64,
    /// Calls that got a cached response.
    pub(crate) cache_hits: u64,
}

/// The second requests of a hedge.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct HedgeCounts {
    pub(crate) sent: u64,
    /// Hedges whose response came first.
    pub(crate) won: u64,
    /// Hedges that found no permit or no closed circuit.
    pub(crate) refused: u64,
    /// The learned delay now.
    pub(crate) delay_ms: Option<f64>,
}

impl HedgeCounts {
    pub(crate) fn new(hedge: &HedgeHandle) -> Self {
        Self {
            sent: hedge.sent(),
            won: hedge.won(),
            refused: hedge.refused(),
            delay_ms: hedge.delay().map(millis),
        }
    }
}

/// The requests that reached the concurrency limit, including retries.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ThrottleCounts {
    pub(crate) admitted: u64,
    /// Requests that waited in the queue first.
    pub(crate) queued: u64,
    pub(crate) rejected: u64,
}

impl Decisions {
    #[cfg(test)]
    pub(crate) fn none(deadline: Duration) -> Self {
        Self {
            calls: 0,
            dedup: DedupCounts::default(),
            retries: 0,
            retries_by_reason: BTreeMap::new(),
            stops: BTreeMap::new(),
            hedge: None,
            throttled: ThrottleCounts::default(),
            attempt_timeouts: 0,
            deadline,
            percent: 0,
        }
    }

    /// Returns the most retries that the budget allows in a run of this length, with the whole reserve spent.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    pub(crate) fn allowed(&self, run: Duration) -> u64 {
        let of_calls = self.calls * u64::from(self.percent) / 100;
        of_calls + ((run + WINDOW).as_secs_f64() * f64::from(PER_SECOND)) as u64
    }
}

/// Retries that the budget allows per second, whatever the number of calls.
pub(crate) const PER_SECOND: u32 = 10;

/// The window of a retry budget. The client may spend a whole window's reserve at once.
const WINDOW: Duration = Duration::from_secs(10);

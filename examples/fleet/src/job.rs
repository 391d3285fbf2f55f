//! What the parent tells a replica, and what the replica reports: one line of JSON each.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Work of a replica: a layer, and the calls that it gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) url: String,
    /// The name of the layer. Jobs of one name share a rate.
    pub(crate) name: String,
    pub(crate) replicas: u32,
    pub(crate) rate: u32,
    pub(crate) burst: u32,
    /// When the calls begin, in microseconds of the [shared clock](crate::clock::SharedClock).
    pub(crate) start: u64,
    pub(crate) traffic: Traffic,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Traffic {
    /// Calls at random times, whatever the state of the others.
    Open { per_second: f64, time: Duration, seed: u64 },
    /// Rounds of [`ROUND`]: load for a while, then silence with the cells held, then all calls at once.
    Hoard { per_second: f64, silences: Vec<Duration>, burst: u32, seed: u64 },
    /// Keys that nobody has asked for before, one after the other, each by several callers at once.
    Keys(Keys),
    /// Open traffic without a record of each call. Each tenant has a rate too, and tenants come and go.
    Soak { per_second: f64, time: Duration, seed: u64 },
}

impl Traffic {
    /// Returns the time from the first call to the last.
    pub(crate) fn time(&self) -> Duration {
        match self {
            Self::Open { time, .. } | Self::Soak { time, .. } => *time,
            Self::Keys(keys) => keys.every * keys.number + keys.work,
            Self::Hoard { silences, .. } => {
                ROUND * u32::try_from(silences.len()).unwrap_or(u32::MAX)
            }
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) number: u32,
    pub(crate) every: Duration,
    /// By how much later this replica asks for each key.
    pub(crate) late: Duration,
    pub(crate) callers: u32,
    /// How long the service works for a key.
    pub(crate) work: Duration,
    /// The lease of the lock.
    pub(crate) lease: Duration,
}

/// The numbers of a replica after a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) calls: Vec<Call>,
    /// When the key was away from the store: from, to, in microseconds since the start.
    pub(crate) away: Vec<(u64, u64)>,
    /// The keys for which the service of this replica worked: key, and the end, in microseconds since the start.
    pub(crate) runs: Vec<(u32, u64)>,
    /// The callers of each key: key, beginning and end, in microseconds since the start.
    pub(crate) waits: Vec<(u32, u64, u64)>,
    /// The cells that a hoarder held when its silence ended, by round.
    pub(crate) held: Vec<u32>,
    /// The calls that ended with neither an admission nor a denial.
    pub(crate) failed: u64,
    pub(crate) slowest: Duration,
    pub(crate) counts: Counts,
    /// The tasks of the runtime that were left five seconds after the layer and the client were dropped.
    pub(crate) tasks_left: usize,
    /// By how much the wall clock stepped meanwhile. Then the times of two replicas do not compare.
    pub(crate) clock_stepped: Duration,
}

/// The numbers of the layer's handle.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) admitted: u64,
    pub(crate) rejected: u64,
    pub(crate) trips: u64,
    pub(crate) expired: u64,
    pub(crate) away_admitted: u64,
    pub(crate) debt: u64,
    pub(crate) losses: u64,
    pub(crate) errors: u64,
    pub(crate) slowest_trip: Duration,
}

/// A call: when it was decided, in microseconds since the start, how long that took, in nanoseconds, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call(pub(crate) u64, pub(crate) u64, pub(crate) Decision);

impl Call {
    pub(crate) fn began(self) -> u64 {
        self.0.saturating_sub(self.1 / 1000)
    }

    pub(crate) fn took(self) -> Duration {
        Duration::from_nanos(self.1)
    }

    pub(crate) fn is_admitted(self) -> bool {
        self.2 == Decision::Admitted
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Decision {
    /// The service has seen the call.
    #[serde(rename = "a")]
    Admitted,
    /// The rate is spent.
    #[serde(rename = "d")]
    Denied,
    /// Any other rejection: a caller would see that the store is away.
    #[serde(rename = "e")]
    Error,
}

/// The length of a hoarder's round.
pub(crate) const ROUND: Duration = Duration::from_millis(700);
/// How long a hoarder makes calls in a round, before its silence.
pub(crate) const HOARDING: Duration = Duration::from_millis(350);

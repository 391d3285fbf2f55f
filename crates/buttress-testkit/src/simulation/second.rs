use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The counts of a second of a [`LoadReport`](crate::LoadReport).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Second {
    /// The start of the second, since the start of the load.
    pub from: Duration,
    /// The calls that began.
    pub offered: usize,
    /// Those of them that succeeded.
    pub served: usize,
    /// Those of them that failed, for each verdict.
    pub failed: BTreeMap<String, usize>,
    /// Those of them that the caller dropped.
    pub abandoned: usize,
    /// Those of them that never ended.
    pub unfinished: usize,
    /// The calls that were sent to the upstream in this second.
    pub sent: usize,
    /// The median latency of the served calls.
    pub p50: Option<Duration>,
    /// The 99th percentile of their latency.
    pub p99: Option<Duration>,
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Option<Duration>| {
            time.map_or("-".to_owned(), |time| format!("{} ms", time.as_millis()))
        };
        let (from, offered, served, sent) = (self.from, self.offered, self.served, self.sent);
        let (p50, p99) = (millis(self.p50), millis(self.p99));
        let failed = offered - served;
        write!(
            f,
            "{:>6} {offered:>7} {served:>7} {failed:>7} {sent:>7} {p50:>8} {p99:>8}",
            from.as_secs_f32()
        )
    }
}

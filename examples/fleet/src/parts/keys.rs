//! Keys that all replicas need at the same time, behind a cache that they share.

use std::{io, time::Duration};

use crate::job::{Keys, Report, Traffic};
use crate::replicas::{Load, Replicas};
use crate::server::Server;

/// What became of keys that nobody had asked for before.
pub(crate) struct Missed {
    pub(crate) keys: u32,
    pub(crate) reports: Vec<Report>,
}

impl Missed {
    /// Returns the calls of the service behind the replicas.
    pub(crate) fn runs(&self) -> u64 {
        self.reports.iter().map(|report| report.runs.len() as u64).sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.reports.iter().map(|report| report.failed).sum()
    }

    /// Returns the sorted times from the end of the first run of a key to each response in another replica.
    pub(crate) fn wakes(&self) -> Vec<Duration> {
        let mut wakes = Vec::new();
        for (key, end) in self.first_runs() {
            for report in &self.reports {
                let is_own = report.runs.contains(&(key, end));
                let waits = report.waits.iter().filter(|(of, _, _)| *of == key && !is_own);
                wakes.extend(waits.map(|(_, _, got)| got.saturating_sub(end)));
            }
        }
        wakes.sort_unstable();
        wakes.into_iter().map(Duration::from_micros).collect()
    }

    /// Returns the longest time from `since`, in microseconds since the start, to a response.
    pub(crate) fn last_response(&self, since: u64) -> Duration {
        let ends = self.reports.iter().flat_map(|report| &report.waits).map(|(_, _, end)| *end);
        Duration::from_micros(ends.max().unwrap_or_default().saturating_sub(since))
    }

    fn first_runs(&self) -> impl Iterator<Item = (u32, u64)> {
        (0..self.keys).filter_map(|key| {
            let runs = self.reports.iter().flat_map(|report| &report.runs);
            runs.filter(|(of, _)| *of == key).min_by_key(|(_, end)| *end).copied()
        })
    }
}

/// All replicas ask for each key, with 50 callers each.
pub(crate) async fn run(server: &Server, replicas: &mut Replicas) -> io::Result<Missed> {
    let load = load("keys", |_| Keys { number: KEYS, every: ms(100), late: ms(0), ..KEY });
    Ok(Missed { keys: KEYS, reports: replicas.run(&server.url(), &load).await? })
}

/// The leader of some keys is killed in the middle of its work.
pub(crate) struct LeaderKilled {
    pub(crate) missed: Missed,
    /// In microseconds since the start.
    pub(crate) at: u64,
}

pub(crate) async fn kill_leader(
    server: &Server,
    replicas: &mut Replicas,
) -> io::Result<LeaderKilled> {
    let load = load("leader", |number| {
        let late = if number == 0 { ms(0) } else { ms(20) };
        Keys { number: KEYS, every: ms(0), late, ..KEY }
    });
    let mut working = replicas.begin(&server.url(), &load).await?;
    working.sleep_until(ms(40)).await;
    working.kill_first().await?;
    let at = working.now();
    let missed = Missed { keys: KEYS, reports: working.reports().await? };
    Ok(LeaderKilled { missed, at })
}

fn load(name: &'static str, keys: impl Fn(u32) -> Keys + 'static) -> Load {
    let traffic = move |replica: crate::replicas::Replica| Traffic::Keys(keys(replica.number));
    Load { name, rate: 0, burst: 0, traffic: Box::new(traffic) }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const KEYS: u32 = 20;
pub(crate) const WORK: Duration = ms(50);
pub(crate) const LEASE: Duration = ms(300);
const KEY: Keys =
    Keys { number: KEYS, every: ms(100), late: ms(0), callers: 50, work: WORK, lease: LEASE };

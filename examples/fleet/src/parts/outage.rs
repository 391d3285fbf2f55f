//! The store is away for 2 s, while the fleet is offered three times the rate.

use std::{io, ops::Range, time::Duration};

use crate::clock::micros;
use crate::job::{Decision, Traffic};
use crate::replicas::{Load, Replicas, Working};
use crate::run::Run;
use crate::server::Server;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, and a new server without the state of the old one.
    Killed,
    /// `SIGSTOP` and `SIGCONT`: connections stay open, and no reply comes.
    Stopped,
}

pub(crate) struct Outage {
    pub(crate) fault: Fault,
    pub(crate) run: Run,
    /// From the fault until the server replied again, in microseconds since the start.
    pub(crate) away: Range<u64>,
}

impl Outage {
    /// Returns the admissions while the server was away.
    pub(crate) fn admitted(&self) -> u64 {
        self.run.count(|call| call.is_admitted() && self.away.contains(&call.0))
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_micros(self.away.end.saturating_sub(self.away.start))
    }

    /// Returns the number of calls, of the whole run, that ended with anything but an admission or a denial.
    pub(crate) fn errors(&self) -> u64 {
        self.run.count(|call| call.2 == Decision::Error)
    }

    /// Returns the sorted times of the decisions while the server was away.
    pub(crate) fn decisions(&self) -> Vec<Duration> {
        self.run.decisions(self.away.clone())
    }

    /// Returns the time from the first reply of the server until the last replica asked it again.
    ///
    /// `None`: a replica was still away at the end of the run.
    pub(crate) fn back_after(&self) -> Option<Duration> {
        let end = micros(TIME);
        let periods = self.run.reports.iter().flat_map(|report| &report.away);
        let is_over = periods.clone().all(|(_, to)| *to < end);
        let of_outage = periods.filter(|(from, _)| *from <= self.away.end);
        let last = of_outage.map(|(_, to)| *to).max().unwrap_or_default();
        is_over.then(|| Duration::from_micros(last.saturating_sub(self.away.end)))
    }
}

pub(crate) async fn run(
    server: &mut Server,
    replicas: &mut Replicas,
    fault: Fault,
) -> io::Result<Outage> {
    let load = Load {
        name: if fault == Fault::Killed { "killed" } else { "stopped" },
        rate: RATE,
        burst: BURST,
        traffic: Box::new(|replica| Traffic::Open {
            per_second: replica.part_of(3.0 * f64::from(RATE)),
            time: TIME,
            seed: replica.number.into(),
        }),
    };
    let working = replicas.begin(&server.url(), &load).await?;
    working.sleep_until(BEFORE).await;
    let from = working.now();
    let to = match fault {
        Fault::Killed => {
            server.kill()?;
            working.sleep_until(BEFORE + AWAY).await;
            server.restart().await?;
            working.now()
        }
        Fault::Stopped => {
            server.stop()?;
            working.sleep_until(BEFORE + AWAY).await;
            let to = working.now();
            server.resume()?;
            to
        }
    };
    let reports = Working::reports(working).await?;
    Ok(Outage { fault, run: Run { rate: RATE, burst: BURST, reports }, away: from..to })
}

pub(crate) const RATE: u32 = 2000;
pub(crate) const BURST: u32 = 400;
pub(crate) const TIME: Duration = Duration::from_millis(5500);
const BEFORE: Duration = Duration::from_millis(1500);
const AWAY: Duration = Duration::from_secs(2);

//! A long run in which the server is killed again and again.

use std::{io, time::Duration};

use crate::job::Traffic;
use crate::replicas::{Load, Replicas, Working};
use crate::run::Run;
use crate::server::Server;

pub(crate) struct Soak {
    pub(crate) run: Run,
    pub(crate) samples: Vec<Sample>,
    pub(crate) kills: u32,
}

/// The memory of both sides.
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) replicas_kib: Vec<u64>,
    pub(crate) server_bytes: u64,
}

impl Soak {
    /// Returns the middle memory of the replicas together, in KiB, of the samples in a fifth of the run.
    pub(crate) fn replicas_kib(&self, fifth: usize) -> u64 {
        self.middle(fifth, |sample| sample.replicas_kib.iter().sum())
    }

    /// Returns the middle memory of the server, in KiB, of the samples in a fifth of the run.
    pub(crate) fn server_kib(&self, fifth: usize) -> u64 {
        self.middle(fifth, |sample| sample.server_bytes / 1024)
    }

    fn middle(&self, fifth: usize, value: impl Fn(&Sample) -> u64) -> u64 {
        let number = self.samples.len();
        let range = fifth * number / 5..(fifth + 1) * number / 5;
        let mut values: Vec<_> =
            self.samples.get(range).unwrap_or_default().iter().map(value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    }
}

/// Runs for this time. `see` gets each sample at once.
pub(crate) async fn run(
    server: &mut Server,
    replicas: &mut Replicas,
    time: Duration,
    see: impl Fn(&Sample),
) -> io::Result<Soak> {
    let load = Load {
        name: "soak",
        rate: RATE,
        burst: BURST,
        traffic: Box::new(move |replica| Traffic::Soak {
            per_second: replica.part_of(1.5 * f64::from(RATE)),
            time,
            seed: replica.number.into(),
        }),
    };
    let pids = replicas.pids();
    let working = replicas.begin(&server.url(), &load).await?;
    let (mut samples, mut kills, mut at) = (Vec::new(), 0, Duration::ZERO);
    while at + SAMPLE_EVERY <= time {
        at += SAMPLE_EVERY;
        working.sleep_until(at).await;
        let sample = Sample {
            at,
            replicas_kib: crate::replicas::resident_kib(&pids).await?,
            server_bytes: server.used_memory().await?,
        };
        see(&sample);
        samples.push(sample);
        if at.as_secs() % KILL_EVERY.as_secs() == 0 && at + SAMPLE_EVERY <= time {
            server.kill()?;
            kills += 1;
            working.sleep_until(at + AWAY).await;
            server.restart().await?;
        }
    }
    let reports = Working::reports(working).await?;
    Ok(Soak { run: Run { rate: RATE, burst: BURST, reports }, samples, kills })
}

const RATE: u32 = 2000;
const BURST: u32 = 400;
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
const KILL_EVERY: Duration = Duration::from_secs(30);
const AWAY: Duration = Duration::from_secs(2);

//! An adversary: all replicas hold cells, wait until the bucket is full again, and spend all at once.

use std::{io, time::Duration};

use crate::job::Traffic;
use crate::parts::load::{BURST, RATE};
use crate::replicas::{Load, Replicas};
use crate::run::Run;
use crate::server::Server;

pub(crate) struct Adversary {
    pub(crate) run: Run,
    /// The most cells that all replicas together held when a silence ended.
    pub(crate) most_held: u32,
}

pub(crate) async fn run(server: &Server, replicas: &mut Replicas) -> io::Result<Adversary> {
    let load = Load {
        name: "adversary",
        rate: RATE,
        burst: BURST,
        traffic: Box::new(|replica| Traffic::Hoard {
            per_second: replica.part_of(0.9 * f64::from(RATE)),
            silences: SILENCES.map(Duration::from_millis).to_vec(),
            burst: 2 * BURST / replica.of,
            seed: replica.number.into(),
        }),
    };
    let reports = replicas.run(&server.url(), &load).await?;
    let held =
        |round| reports.iter().filter_map(|report| report.held.get::<usize>(round)).sum::<u32>();
    let most_held = (0..SILENCES.len()).map(held).max().unwrap_or_default();
    Ok(Adversary { run: Run { rate: RATE, burst: BURST, reports }, most_held })
}

/// How long the replicas wait before they spend. A lease takes 200 ms, and a full bucket at most as long.
const SILENCES: [u64; 7] = [20, 60, 100, 140, 160, 180, 220];

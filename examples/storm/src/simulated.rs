//! The storm in virtual time: the clients and the network of the storm, without sockets.

use std::sync::Arc;

use buttress_testkit::simulate;

use crate::callers;
use crate::client::layered::{self, Settings};
use crate::client::{Client, Pages};
use crate::operations::{self, Operation};
use crate::upstream::conditions::Conditions;
use crate::upstream::simulated::SimulatedUpstream;
use crate::{BUTTRESS, STORM_BUDGET};

/// The results of a client in the simulated storm.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SimulatedRun {
    /// The number of operations.
    pub operations: usize,
    /// The number of those that succeeded.
    pub succeeded: usize,
    /// The requests that reached the upstream.
    pub requests: u64,
    /// The events of the layers, with their virtual times.
    pub log: String,
}

impl SimulatedRun {
    /// Returns the share of the operations that succeeded.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn success_rate(&self) -> f64 {
        self.succeeded as f64 / self.operations as f64
    }
}

/// Runs the client `linear`.
pub fn linear(seed: u64, operations: usize) -> SimulatedRun {
    run(seed, operations, Pages)
}

/// Runs the client `buttress`.
pub fn buttress(seed: u64, operations: usize) -> SimulatedRun {
    let settings = Settings { name: BUTTRESS, percent: STORM_BUDGET, seed };
    run(seed, operations, |upstream| layered::simulated(settings, upstream))
}

fn run<C: Client>(
    seed: u64,
    operations: usize,
    client: impl FnOnce(SimulatedUpstream) -> C,
) -> SimulatedRun {
    let list: Arc<[Operation]> = operations::list(seed, operations).into();
    let ((records, requests), log) = simulate(seed, async || {
        let upstream = SimulatedUpstream::new(Conditions::Storm, seed);
        let client = Arc::new(client(upstream.clone()));
        let records = callers::run(&client, ORIGIN, &list, CALLERS, |_| ()).await;
        (records, upstream.counts().requests)
    });
    SimulatedRun {
        operations: records.len(),
        succeeded: records.iter().filter(|record| record.outcome.is_ok()).count(),
        requests,
        log: log.to_string(),
    }
}

const ORIGIN: &str = "http://upstream";

/// As many callers as in the storm on sockets.
const CALLERS: u32 = 100;

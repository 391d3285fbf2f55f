//! The fleet under a load, while the store lives.

use std::{io, time::Duration};

use crate::job::Traffic;
use crate::replicas::{Load, Replicas};
use crate::run::Run;
use crate::server::Server;

/// A load, as a part of the rate.
#[derive(Clone, Copy)]
pub(crate) struct Offered {
    pub(crate) name: &'static str,
    pub(crate) of_rate: f64,
}

/// Offers calls to the fleet for [`TIME`].
pub(crate) async fn run(
    server: &Server,
    replicas: &mut Replicas,
    offered: Offered,
) -> io::Result<Run> {
    let load = Load {
        name: offered.name,
        rate: RATE,
        burst: BURST,
        traffic: Box::new(move |replica| Traffic::Open {
            per_second: replica.part_of(offered.of_rate * f64::from(RATE)),
            time: TIME,
            seed: replica.number.into(),
        }),
    };
    let reports = replicas.run(&server.url(), &load).await?;
    Ok(Run { rate: RATE, burst: BURST, reports })
}

/// Returns the trips per admission that a replica may need at this admission rate, with 30 % of slack.
///
/// A lease of `n` cells costs `2 / n` trips per cell. In overload, a replica also asks once per pace.
pub(crate) fn most_trips(replicas: u32, admitted_per_second: f64, is_overload: bool) -> f64 {
    let per_replica = admitted_per_second / f64::from(replicas);
    let most_held = f64::from(BURST) * RESERVE / f64::from(replicas);
    let held = f64::min(most_held, per_replica * HORIZON.as_secs_f64());
    let pace = if is_overload { 1.0 / (PACE.as_secs_f64() * per_replica) } else { 0.0 };
    1.3 * (2.0 / held + pace)
}

pub(crate) const RATE: u32 = 5000;
pub(crate) const BURST: u32 = 1000;
pub(crate) const TIME: Duration = Duration::from_secs(4);
/// The defaults of a fleet: the reserved part of the burst, a quarter of the lease, and half of that.
pub(crate) const RESERVE: f64 = 0.2;
const HORIZON: Duration = Duration::from_millis(50);
const PACE: Duration = Duration::from_millis(25);

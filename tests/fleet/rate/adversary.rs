//! Replicas that hold cells, wait until the bucket is full, and spend all at once.

use std::time::Duration;

use buttress::{Rate, Rejection, throttle::Ratio};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::replica::{Replica, Setup};
use crate::support::Server;

/// Chapter 4.4: the fleet spends at most the burst and the rate, in each interval.
#[tokio::test]
async fn adversary_gets_no_more_than_the_rate_and_the_burst() {
    let Some(server) = Server::start("the adversary").await else { return };
    let (rate, reserve) = (Rate::per_second(RATE).burst(BURST), Ratio::percent(20));
    let setup = Setup { rate, reserve, ..Setup::of(1) };
    let replicas = setup.replicas(server.url()).await;
    let start = Instant::now();
    let mut times = Vec::new();
    for silence in [40, 100, 150, 180, 195, 210] {
        let load_ends = Instant::now() + Duration::from_millis(150);
        while Instant::now() < load_ends {
            times.extend(spend(&replicas, 1).await);
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(silence)).await;
        times.extend(spend(&replicas, BURST).await);
    }
    times.sort_unstable();
    let over = excess(&times, start);
    assert!(over <= f64::from(BURST) / 100.0, "{over} calls over the burst");
    assert!(times.len() > BURST as usize, "{} calls", times.len());
}

/// Makes `calls` calls of each replica at once. Returns the times at which the service saw them.
async fn spend(replicas: &[Replica], calls: u32) -> Vec<Instant> {
    let mut running = JoinSet::new();
    for replica in replicas {
        let inner = service_fn(|()| async { Ok::<_, Rejection>(Instant::now()) });
        for _ in 0..calls {
            running.spawn(replica.layer.layer(inner).oneshot(()));
        }
    }
    running.join_all().await.into_iter().filter_map(Result::ok).collect()
}

/// Returns by how many calls these exceed one bucket, in the interval where they do so most.
fn excess(times: &[Instant], start: Instant) -> f64 {
    let (mut cells, mut last, mut most) = (f64::from(BURST), start, 0.0);
    for &time in times {
        let gained = f64::from(RATE) * (time - last).as_secs_f64();
        cells = f64::min(f64::from(BURST), cells + gained) - 1.0;
        last = time;
        most = f64::max(most, -cells);
    }
    most
}

const RATE: u32 = 5000;
const BURST: u32 = 1000;

//! The server dies, stands still, or forgets.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::replica::{Origin, Setup};
use crate::support::{Server, eventually};

/// L10: each replica makes a call of its own, for all its callers. No caller sees an error.
#[tokio::test]
async fn each_replica_makes_one_call_while_the_server_is_dead() {
    let Some(mut server) = Server::start("a dead server").await else { return };
    let origin = Origin::held();
    let replicas = Setup::PATIENT.replicas(server.url(), 4, &origin).await;
    server.kill();
    let lost = async || replicas.iter().all(|replica| !replica.redis.snapshot().is_connected);
    eventually("the replicas have noticed", lost).await;
    let mut running = JoinSet::new();
    for replica in &replicas {
        replica.calls(7, 50, &mut running);
    }
    eventually("all replicas work", async || origin.runs() == 4).await;
    origin.respond(4);
    assert_eq!(running.join_all().await.len(), 200);
    assert_eq!(origin.runs(), 4);
    server.restart().await;
    // The cache is shared again.
    origin.respond(1);
    eventually("the store is back", async || {
        replicas.iter().all(|replica| replica.redis.snapshot().is_connected)
    })
    .await;
    assert_eq!(replicas[0].call(8).await, "value 8 of run 5");
    eventually("the entry is stored", async || {
        origin.respond(1);
        let hits = replicas[1].handle.snapshot().store_hits;
        replicas[1].call(8).await;
        replicas[1].handle.snapshot().store_hits > hits
            || replicas[1].call(8).await.ends_with("run 5")
    })
    .await;
}

/// The server dies while a replica works and the others wait.
#[tokio::test]
async fn all_callers_get_a_response_when_the_server_dies_in_a_flight() {
    let Some(mut server) = Server::start("a death in a flight").await else { return };
    let origin = Origin::held();
    let replicas = Setup::PATIENT.replicas(server.url(), 4, &origin).await;
    let mut running = JoinSet::new();
    for replica in &replicas {
        replica.calls(7, 20, &mut running);
    }
    let waits =
        || replicas.iter().map(|replica| replica.handle.snapshot().store_waits).sum::<u64>();
    eventually("three replicas wait", async || waits() == 3).await;
    server.kill();
    eventually("each makes a call of its own", async || origin.runs() == 4).await;
    origin.respond(4);
    assert_eq!(running.join_all().await.len(), 80);
    assert_eq!(origin.runs(), 4);
}

/// The server starts again while a replica works: its lock and its generation are gone.
#[tokio::test]
async fn restart_in_a_flight_costs_runs_and_no_errors() {
    let Some(mut server) = Server::start("a restart in a flight").await else { return };
    let origin = Origin::held();
    let replicas = Setup::PATIENT.replicas(server.url(), 4, &origin).await;
    let mut running = JoinSet::new();
    for replica in &replicas {
        replica.calls(7, 20, &mut running);
    }
    eventually("a replica works", async || origin.runs() >= 1).await;
    server.kill();
    server.restart().await;
    origin.respond(8);
    assert_eq!(running.join_all().await.len(), 80);
    assert!(origin.runs() <= 5, "{} runs", origin.runs());
}

/// L10: a silent server costs a call one time limit.
#[tokio::test]
async fn calls_pass_while_the_server_is_stopped() {
    let Some(server) = Server::start("SIGSTOP").await else { return };
    let origin = Origin::held();
    let setup = Setup { time_limit: Duration::from_millis(50), ..Setup::PATIENT };
    let replicas = setup.replicas(server.url(), 4, &origin).await;
    server.signal("-STOP");
    let mut running = JoinSet::new();
    for replica in &replicas {
        replica.calls(7, 20, &mut running);
    }
    eventually("all replicas work", async || origin.runs() == 4).await;
    origin.respond(4);
    assert_eq!(running.join_all().await.len(), 80);
    server.signal("-CONT");
}

/// FLUSHALL: entries are gone, and no caller sees more than another call.
#[tokio::test]
async fn flushed_entries_are_made_again() {
    let Some(server) = Server::start("FLUSHALL").await else { return };
    let origin = Origin::held();
    origin.respond(10);
    let setup = Setup { local_ttl: Duration::ZERO, ..Setup::PATIENT };
    let replicas = setup.replicas(server.url(), 2, &origin).await;
    replicas[0].call(7).await;
    server.run::<()>(&["FLUSHALL"]).await;
    let runs = origin.runs();
    replicas[1].call(7).await;
    assert_eq!(origin.runs(), runs + 1);
}

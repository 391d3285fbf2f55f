//! Calls for the same key in several replicas at the same time.

use std::time::Duration;

use tokio::{task::JoinSet, time::timeout};

use crate::replica::{Origin, Replica, Setup};
use crate::support::{PATIENT, Proxy, Server, eventually};

/// Chapter 1: one call per missed key in the fleet.
#[tokio::test]
async fn eight_replicas_with_fifty_callers_each_make_one_call() {
    let Some(server) = Server::start("one call in the fleet").await else { return };
    let origin = Origin::held();
    let replicas = Setup::PATIENT.replicas(server.url(), 8, &origin).await;
    let mut running = JoinSet::new();
    for replica in &replicas {
        replica.calls(7, 50, &mut running);
    }
    eventually("seven replicas wait", async || waits(&replicas) == 7).await;
    origin.respond(8);
    let responses = running.join_all().await;
    assert_eq!(responses.len(), 400);
    assert!(responses.iter().all(|response| response == "value 7 of run 1"));
    assert_eq!(origin.runs(), 1);
    // A replica that comes later finds the entry.
    let late = Setup::PATIENT.replica(server.url(), &origin).await;
    assert_eq!(late.call(7).await, "value 7 of run 1");
    assert_eq!(late.handle.snapshot().store_hits, 1);
}

/// K4: the leader dies without a word. Its lock ends with the lease.
#[tokio::test]
async fn another_replica_makes_the_call_when_the_leader_is_cut_off() {
    let Some(server) = Server::start("a leader that is cut off").await else { return };
    let proxy = Proxy::to(server.port).await;
    let (dead, origin) = (Origin::held(), Origin::held());
    let setup = Setup { lease: Duration::from_millis(200), ..Setup::PATIENT };
    let leader = setup.replica(proxy.url(), &dead).await;
    let followers = setup.replicas(server.url(), 3, &origin).await;
    let mut lost = JoinSet::new();
    leader.calls(7, 1, &mut lost);
    eventually("the leader works", async || dead.runs() == 1).await;
    let mut running = JoinSet::new();
    for replica in &followers {
        replica.calls(7, 5, &mut running);
    }
    eventually("the others wait", async || waits(&followers) == 3).await;
    proxy.pause(true);
    eventually("another leads", async || origin.runs() == 1).await;
    origin.respond(3);
    let responses = running.join_all().await;
    assert!(responses.iter().all(|response| response == "value 7 of run 1"), "{responses:?}");
    // A busy machine can let this lease end too. Then there is a second run, and no convoy.
    assert!(origin.runs() <= 2, "{} runs", origin.runs());
    lost.shutdown().await;
}

/// K5: a leader whose callers leave releases the lock within one trip, so nobody waits for the lease.
#[tokio::test]
async fn another_replica_makes_the_call_at_once_when_the_callers_of_the_leader_leave() {
    let Some(server) = Server::start("a leader whose callers leave").await else { return };
    let origin = Origin::held();
    let setup = Setup { lease: 10 * PATIENT, ..Setup::PATIENT };
    let replicas = setup.replicas(server.url(), 2, &origin).await;
    let mut leaving = JoinSet::new();
    replicas[0].calls(7, 3, &mut leaving);
    eventually("the leader works", async || origin.runs() == 1).await;
    let mut running = JoinSet::new();
    replicas[1].calls(7, 3, &mut running);
    eventually("the other waits", async || waits(&replicas[1..]) == 1).await;
    leaving.shutdown().await;
    origin.respond(2);
    let responses = timeout(PATIENT, running.join_all()).await.unwrap();
    assert!(responses.iter().all(|response| response == "value 7 of run 2"), "{responses:?}");
}

/// K12: all replicas stop serving an entry, here at once, because none holds entries of its own.
#[tokio::test]
async fn invalidation_in_a_replica_reaches_the_others() {
    let Some(server) = Server::start("an invalidation").await else { return };
    let origin = Origin::held();
    origin.respond(10);
    let setup = Setup { local_ttl: Duration::ZERO, ..Setup::PATIENT };
    let replicas = setup.replicas(server.url(), 2, &origin).await;
    let [one, other] = &replicas[..] else { unreachable!() };
    assert_eq!(one.call(7).await, "value 7 of run 1");
    eventually("the entry is stored", async || other.call(7).await == "value 7 of run 1").await;
    let runs = origin.runs();
    one.handle.invalidate(&7_u32);
    let newer = |response: String| !response.ends_with("run 1") || runs > 1;
    eventually("the other sees no old entry", async || newer(other.call(7).await)).await;
    assert!(newer(one.call(7).await));
}

fn waits(replicas: &[Replica]) -> u64 {
    replicas.iter().map(|replica| replica.handle.snapshot().store_waits).sum()
}

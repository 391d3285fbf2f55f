//! A network between the replicas and the server that passes nothing, loses replies, or is slow.

use std::time::Duration;

use crate::replica::{Replica, Setup, call_all, until_away, until_back, until_empty};
use crate::support::{Proxy, Server, eventually};

/// The cells that were admitted in all, once everything works again.
async fn recover(replicas: &[Replica], before: u64, during: u64) {
    let after = until_back(replicas).await + until_empty(replicas).await;
    let all = before + during + after;
    assert!(all <= 450, "{before}, {during} and {after}");
}

/// The process stands still: connections stay open.
#[tokio::test]
async fn callers_see_no_error_while_the_server_is_stopped() {
    let Some(server) = Server::start("SIGSTOP").await else { return };
    let replicas = Setup::of(400).impatient().replicas(server.url()).await;
    let before = call_all(&replicas, 10).await;
    server.signal("-STOP");
    let during = until_away(&replicas).await + until_empty(&replicas).await;
    server.signal("-CONT");
    recover(&replicas, before, during).await;
}

/// The network passes nothing, and closes nothing.
#[tokio::test]
async fn callers_see_no_error_while_the_network_is_silent() {
    let Some(server) = Server::start("a silent network").await else { return };
    let proxy = Proxy::to(server.port).await;
    let replicas = Setup::of(400).impatient().replicas(proxy.url()).await;
    let before = call_all(&replicas, 10).await;
    proxy.pause(true);
    let during = until_away(&replicas).await + until_empty(&replicas).await;
    proxy.pause(false);
    recover(&replicas, before, during).await;
}

/// Requests run, and their replies are lost: the debits are too, and the debt is told twice at most.
#[tokio::test]
async fn callers_see_no_error_while_replies_are_lost() {
    let Some(server) = Server::start("lost replies").await else { return };
    let proxy = Proxy::to(server.port).await;
    let replicas = Setup::of(400).impatient().replicas(proxy.url()).await;
    let before = call_all(&replicas, 10).await;
    proxy.drop_replies(true);
    let during = until_away(&replicas).await + until_empty(&replicas).await;
    proxy.drop_replies(false);
    recover(&replicas, before, during).await;
}

/// A connection that is open for the client, and dead for the server.
#[tokio::test]
async fn replicas_return_on_new_connections_when_the_old_ones_are_dead() {
    let Some(server) = Server::start("half-open connections").await else { return };
    let proxy = Proxy::to(server.port).await;
    let replicas = Setup::of(400).impatient().replicas(proxy.url()).await;
    let before = call_all(&replicas, 10).await;
    let connections = proxy.accepted();
    proxy.half_open();
    let during = until_away(&replicas).await + until_empty(&replicas).await;
    recover(&replicas, before, during).await;
    assert!(proxy.accepted() >= connections + replicas.len(), "each replica has dialled anew");
}

/// A reply after the time limit is as good as none.
#[tokio::test]
async fn slow_network_leaves_the_replicas_to_their_shares() {
    let Some(server) = Server::start("a slow network").await else { return };
    let proxy = Proxy::to(server.port).await;
    let replicas = Setup::of(400).impatient().replicas(proxy.url()).await;
    let before = call_all(&replicas, 10).await;
    proxy.delay(Duration::from_millis(200));
    let during = until_away(&replicas).await;
    let late = |replica: &Replica| replica.fleet().trip_time_max < Duration::from_millis(200);
    assert!(replicas.iter().all(late), "no call waits for a late reply");
    proxy.delay(Duration::ZERO);
    recover(&replicas, before, during).await;
}

/// One of four replicas is cut off, and the others go on with the store.
#[tokio::test]
async fn replica_that_is_cut_off_lives_on_its_share_alone() {
    let Some(server) = Server::start("one replica cut off").await else { return };
    let proxy = Proxy::to(server.port).await;
    let mut replicas = vec![Setup::of(400).impatient().replica(proxy.url()).await];
    for _ in 1..4 {
        replicas.push(Setup::of(400).replica(server.url()).await);
    }
    call_all(&replicas, 5).await;
    proxy.pause(true);
    let (cut_off, others) = replicas.split_at(1);
    until_away(cut_off).await;
    until_empty(&replicas).await;
    assert!(others.iter().all(|replica| !replica.is_away()));
    let share = cut_off[0].fleet().away_admitted;
    assert!((1..=100).contains(&share), "{share} of a share of 100");
    let all: u64 = replicas.iter().map(|replica| replica.handle().admitted()).sum();
    assert!(all <= 500, "{all}");
    proxy.pause(false);
    eventually("the replica is back", async || {
        call_all(cut_off, 1).await;
        !cut_off[0].is_away()
    })
    .await;
    assert_eq!(until_empty(&replicas).await, 0, "the debt has emptied the bucket");
}

//! Callers, and the time that they wait.

use std::time::Duration;

use buttress::layer_api::Deadline;
use tokio::time::timeout;

use crate::replica::{Setup, call_all, until_back};
use crate::support::Server;

/// A5: the store's time limit is a minute here, and no caller waits for it.
#[tokio::test]
async fn caller_waits_no_longer_than_its_deadline_for_a_server_that_is_stopped() {
    let Some(server) = Server::start("a deadline").await else { return };
    let replica = Setup::of(400).replica(server.url()).await;
    server.signal("-STOP");
    let deadline = Deadline::after(Duration::from_millis(20));
    let call = Deadline::with(Some(deadline), || Deadline::scope(replica.call()));
    let end = timeout(Duration::from_secs(30), call).await;
    assert!(end.is_ok(), "the call waits beyond its deadline");
    server.signal("-CONT");
    until_back(std::slice::from_ref(&replica)).await;
}

/// A caller that leaves while the server is asked loses no cells.
#[tokio::test]
async fn cells_of_a_caller_that_leaves_go_to_the_next() {
    let Some(server) = Server::start("a caller that leaves").await else { return };
    let replica = Setup::of(5).replica(server.url()).await;
    server.signal("-STOP");
    for _ in 0..3 {
        let left = timeout(Duration::from_millis(1), replica.call()).await;
        assert!(left.is_err(), "nobody has decided");
    }
    server.signal("-CONT");
    let mut admitted = 0;
    for _ in 0..5 {
        admitted += call_all(std::slice::from_ref(&replica), 1).await;
    }
    assert!(admitted >= 4, "{admitted} of 5: only what a lease has dropped is lost");
}

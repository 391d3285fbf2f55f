//! The server refuses the script.

use crate::replica::{Setup, call_all, until_away, until_back, until_empty};
use crate::support::Server;

/// L9: a server that became a replica.
#[tokio::test]
async fn callers_see_no_error_while_the_server_is_read_only() {
    let Some(server) = Server::start("READONLY").await else { return };
    let replicas = Setup::of(400).replicas(server.url()).await;
    let before = call_all(&replicas, 10).await;
    server.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let during = until_away(&replicas).await + until_empty(&replicas).await;
    assert!(replicas.iter().all(|replica| replica.redis.snapshot().open_circuits == 0));
    server.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    let after = until_back(&replicas).await + until_empty(&replicas).await;
    let all = before + during + after;
    assert!((380..=450).contains(&all), "{before}, {during} and {after}");
}

/// L9: after an ACL error the server is left alone for 10 s.
#[tokio::test]
async fn server_that_denies_access_is_asked_once_and_no_caller_sees_an_error() {
    let Some(server) = Server::start("NOPERM").await else { return };
    let replicas = Setup::of(400).replicas(server.url()).await;
    call_all(&replicas, 10).await;
    server.run::<()>(&["ACL", "SETUSER", "default", "-evalsha"]).await;
    let start = tokio::time::Instant::now();
    let during = until_away(&replicas).await + until_empty(&replicas).await;
    assert!(during <= 400, "{during}");
    let errors: u64 =
        replicas.iter().map(|replica| replica.fleet().errors.iter().sum::<u64>()).sum();
    // A machine that is too busy for this test has not refuted the layer.
    if start.elapsed().as_secs() < 10 {
        assert_eq!(errors, replicas.len() as u64, "each replica has asked once");
    }
}

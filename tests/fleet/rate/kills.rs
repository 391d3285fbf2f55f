//! The server dies and starts again.

use buttress::{Reason, throttle::WithoutStore};
use buttress_testkit::Events;

use crate::replica::{REPLICAS, Setup, call_all, until_away, until_back, until_empty};
use crate::support::{Server, eventually};

const AOF: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// L6 to L8: the debt, and the state that the callers expect, leave nothing for a second burst.
#[tokio::test]
async fn callers_see_no_error_and_get_no_second_burst_when_the_server_is_killed() {
    for options in [&[][..], &AOF] {
        let Some(mut server) = Server::start_with("a kill", options).await else { return };
        let events = Events::record();
        let replicas = Setup::of(400).replicas(server.url()).await;
        let before = call_all(&replicas, 10).await;
        assert_eq!(before, 40, "{options:?}");
        server.kill();
        let mut during = until_away(&replicas).await;
        during += until_empty(&replicas).await;
        assert!(during > 0, "each replica has a share");
        assert!(during <= 400, "{during} during the outage, {options:?}");
        server.restart().await;
        let mut after = until_back(&replicas).await;
        after += until_empty(&replicas).await;
        // The share of a replica is that of the cells that its last grant has left.
        let all = before + during + after;
        assert!((380..=450).contains(&all), "{all} of 400, {options:?}");
        assert_eq!(events.count("throttle.store_lost"), replicas.len());
        let regained = events.named("throttle.store_regained");
        assert_eq!(regained.len(), replicas.len(), "{}", events.log());
        let debts = regained.iter().map(|event| event.field("debt").unwrap().parse::<u64>());
        let away: u64 = replicas.iter().map(|replica| replica.fleet().away_admitted).sum();
        assert_eq!(debts.sum::<Result<u64, _>>().unwrap(), away);
        let losses: u64 = replicas.iter().map(|replica| replica.fleet().losses).sum();
        assert_eq!(losses > 0, options.is_empty(), "{losses} losses, {options:?}");
    }
}

/// L1, on a real server.
#[tokio::test]
async fn policy_decides_while_the_server_is_dead() {
    let Some(mut server) = Server::start("the policies").await else { return };
    let mut replicas = Vec::new();
    for policy in [WithoutStore::FailOpen, WithoutStore::FailClosed] {
        let replica = Setup { policy, ..Setup::of(40) }.replica(server.url()).await;
        assert_eq!(replica.call().await, Ok(()));
        replicas.push(replica);
    }
    server.kill();
    let [open, closed] = &replicas[..] else { unreachable!() };
    for _ in 0..100 {
        assert_eq!(open.call().await, Ok(()));
    }
    // Cells that are held stay good until their lease ends.
    eventually("the held cells are spent", async || closed.call().await.is_err()).await;
    assert_eq!(closed.call().await, Err(Reason::Overloaded));
    server.restart().await;
    eventually("the debt is told", async || open.call().await.is_err()).await;
    assert_eq!(open.fleet().debt, 0);
    eventually("the rate decides", async || closed.call().await == Err(Reason::RateLimited)).await;
}

/// L11: the layers run before the server does.
#[tokio::test]
async fn layers_run_by_the_policy_until_the_server_starts() {
    let Some(mut server) = Server::start("a late start").await else { return };
    let replicas = Setup::of(400).replicas(server.url()).await;
    server.kill();
    let before = until_away(&replicas).await + until_empty(&replicas).await;
    // Without a grant, each has a share of the whole burst.
    assert_eq!(before, 400);
    server.restart().await;
    let after = until_back(&replicas).await + until_empty(&replicas).await;
    assert_eq!(after, 0, "the debt has emptied the bucket");
    let debt: u64 = replicas.iter().map(|replica| replica.fleet().away_admitted).sum();
    assert_eq!(debt, before);
    assert_eq!(replicas.len(), REPLICAS as usize);
}

/// No task outlives the layers, also while the server is dead.
#[tokio::test]
async fn no_task_outlives_the_layers_while_the_server_is_dead() {
    let Some(mut server) = Server::start("the end of the tasks").await else { return };
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    eventually("the test's own tasks are over", async || alive() == 0).await;
    let replicas = Setup::of(400).replicas(server.url()).await;
    call_all(&replicas, 3).await;
    server.kill();
    until_away(&replicas).await;
    assert!(alive() > 0);
    drop(replicas);
    eventually("all tasks are over", async || alive() == 0).await;
}

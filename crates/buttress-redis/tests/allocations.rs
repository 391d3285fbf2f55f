//! What a trip costs on the client's side.

mod support;

use std::time::Duration;

use buttress_redis::Redis;
use buttress_state::{Ask, CellRate, QuotaStore};
use support::{PATIENT, Server, eventually};

#[test]
fn trip_allocates_at_most_nine_times() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some(server) = runtime.block_on(Server::start("allocations of a trip")) else { return };
    let quotas = {
        let _entered = runtime.enter();
        Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT).quotas()
    };
    let rate = [CellRate::new(Duration::from_secs(3600), 1_000_000)];
    let take = async || quotas.acquire(Ask::new(b"key", &rate, 64)).await.is_ok();
    runtime.block_on(async {
        eventually("a connection", async || take().await).await;
        for _ in 0..100 {
            assert!(take().await);
        }
    });
    // The connection's task runs on this thread too.
    let trips = 100;
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            for _ in 0..trips {
                assert!(take().await);
            }
        });
    });
    assert!(counted.count_total <= 9 * trips, "{} in {trips} trips", counted.count_total);
}

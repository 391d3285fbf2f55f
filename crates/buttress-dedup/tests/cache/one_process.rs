//! What holds only for a cache that lies in a single process.

use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::counts;

use crate::support::{Cached, Does, Source, constant, exactly, s, snapshot};

#[tokio::test(start_paused = true)]
async fn per_service_cache_is_shared_by_the_clones_of_a_service() {
    let source = Source::at_once();
    let layer = DedupLayer::new().cache(exactly(s(10))).per_service();
    let [one, other] = [(); 2].map(|()| Cached::over(source.clone(), &layer));
    assert_eq!(one.get(7).await, Ok(1));
    assert_eq!(other.get(7).await, Ok(2));
    assert_eq!(one.clone().get(7).await, Ok(1));
    assert_eq!(other.get(7).await, Ok(2));
}

#[test]
fn refreshes_end_with_their_runtime_and_start_again_on_the_next() {
    let cache = exactly(s(0)).stale_while_revalidate(s(1_000)).refresh_backoff(constant(s(0)));
    let cached = Cached::new(cache);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime().block_on(async {
        assert_eq!(cached.get(7).await, Ok(1));
        cached.source.does(Does::Hang);
        assert_eq!(cached.get(7).await, Ok(1));
        tokio::task::yield_now().await;
        assert_eq!(cached.source.live(), 1);
        assert_eq!(cached.handle.in_flight(), 1);
    });
    assert_eq!(cached.source.live(), 0);
    let expected = counts!(DedupSnapshot {
        calls: 2,
        leaders: 2,
        cache_hits: 1,
        stale_hits: 1,
        refreshes: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    runtime().block_on(async {
        cached.source.does(Does::Answer);
        assert_eq!(cached.get(7).await, Ok(1));
        while cached.handle.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(cached.get(7).await, Ok(3));
    });
}

//! Early refresh: entries that are refreshed before they expire.

use buttress_dedup::{DedupSnapshot, EarlyRefresh};
use buttress_testkit::{TestError, counts};
use tokio::time::{Instant, advance, sleep};

use crate::support::{Cached, Does, constant, exactly, ms, s, settle, snapshot};

/// Vattani, Chierichetti and Lowenstein, *Optimal Probabilistic Cache Stampede Prevention*.
#[tokio::test(start_paused = true)]
async fn hot_key_is_refreshed_early_by_a_single_call_and_no_reader_waits() {
    let cache = exactly(s(10)).early_refresh(EarlyRefresh::OPTIMAL).seed(7);
    let cached = Cached::slow(cache);
    cached.source.takes(ms(100));
    cached.get(7).await.unwrap();
    let started = Instant::now();
    let mut reads = 0_u32;
    while started.elapsed() < s(200) {
        let asked = Instant::now();
        cached.get(7).await.unwrap();
        assert_eq!(asked.elapsed(), s(0), "no reader waits");
        reads += 1;
        sleep(ms(2)).await;
    }
    let expected = counts!(DedupSnapshot {
        calls: 100_001,
        leaders: 21,
        cache_hits: u64::from(reads),
        refreshes: 20,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    assert_eq!(cached.source.most(), 1);
    let at: Vec<_> = cached.source.seen().iter().map(|seen| seen.at).collect();
    // A load takes as long as 50 reads, so the earliest of them refreshes about 0.4 s early.
    for pair in at.windows(2) {
        let passed = pair[1].duration_since(pair[0]);
        assert!((s(8)..ms(10_100)).contains(&passed), "{passed:?}");
    }
    assert!((20..=24).contains(&at.len()), "{}", at.len());
    assert_eq!(cached.handle.refreshes(), at.len() as u64 - 1);
}

/// Vattani, Chierichetti and Lowenstein, *Optimal Probabilistic Cache Stampede Prevention*.
#[tokio::test(start_paused = true)]
async fn larger_beta_refreshes_earlier() {
    let mut calls = Vec::new();
    for beta in [0.0, 1.0, 10.0] {
        let cache = exactly(s(10)).early_refresh(EarlyRefresh::new(beta)).seed(7);
        let cached = Cached::slow(cache);
        for _ in 0..10_000 {
            cached.get(7).await.unwrap();
            sleep(ms(10)).await;
        }
        calls.push(cached.source.calls());
    }
    assert!(calls[0] < calls[1] && calls[1] < calls[2], "{calls:?}");
    // One load per expiry, and no early refresh.
    assert_eq!(calls[0], 10);
}

#[tokio::test(start_paused = true)]
async fn early_refresh_is_off_by_default_and_for_instant_responses() {
    let eager = exactly(s(10)).early_refresh(EarlyRefresh::new(1e6)).seed(7);
    for cached in [Cached::new(eager), Cached::slow(exactly(s(10)))] {
        for _ in 0..999 {
            cached.get(7).await.unwrap();
            advance(ms(10)).await;
        }
        assert_eq!(cached.source.calls(), 1);
        assert_eq!(cached.handle.refreshes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_early_refresh_starts_the_backoff_and_the_entry_stays_fresh() {
    let cache = exactly(s(10))
        .early_refresh(EarlyRefresh::new(1e6))
        .refresh_backoff(constant(s(3)))
        .seed(7);
    let cached = Cached::slow(cache);
    cached.source.takes(s(1));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    cached.source.takes(ms(100));
    let started = Instant::now();
    while started.elapsed() < ms(9_200) {
        assert_eq!(cached.get(7).await, Ok(1));
        sleep(ms(10)).await;
    }
    // The refreshes start at 0, 3.1 and 6.2 s.
    assert_eq!(cached.source.calls(), 4);
    let expected = counts!(DedupSnapshot {
        calls: 921,
        leaders: 4,
        cache_hits: 920,
        refreshes: 3,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    sleep(ms(800)).await;
    assert_eq!(cached.get(7).await, Err(TestError::Failed));
}

#[tokio::test(start_paused = true)]
async fn early_refresh_uses_the_time_from_call_to_response() {
    // If the load took 1 s, a refresh is due at the first hit. If it took 1 ms, hardly ever.
    for (took, refreshed) in [(s(1), 1), (ms(1), 0)] {
        let cache = exactly(s(100)).early_refresh(EarlyRefresh::new(1e4)).seed(7);
        let cached = Cached::slow(cache);
        cached.source.takes(took);
        cached.get(7).await.unwrap();
        cached.get(7).await.unwrap();
        settle().await;
        assert_eq!(cached.handle.refreshes(), refreshed);
    }
}

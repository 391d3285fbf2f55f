//! The lifetime of successes.

use std::time::Duration;

use buttress_dedup::{Cache, DedupSnapshot, Ratio};
use buttress_testkit::{TestError, counts};
use tokio::time::advance;

use crate::suite::place;
use crate::support::{Cached, Does, cache, exactly, ms, s, snapshot};

#[tokio::test(start_paused = true)]
async fn success_is_cached_for_exactly_its_ttl() {
    let cached = Cached::slow(exactly(s(10)));
    assert_eq!(cached.get(7).await, Ok(1));
    advance(ms(9_999)).await;
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.source.calls(), 1);
    let expected = counts!(DedupSnapshot {
        calls: 2,
        leaders: 1,
        cache_hits: 1,
        cache_entries: 1,
        cache_bytes: 8
    });
    assert_eq!(snapshot(&cached.handle), expected);
    advance(ms(1)).await;
    assert_eq!(cached.handle.cache_entries(), 0, "reading the number sweeps expired entries");
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(cached.source.calls(), 2);
    let expected = counts!(DedupSnapshot { calls: 3, leaders: 2, ..expected });
    assert_eq!(snapshot(&cached.handle), expected);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_entry() {
    let cached = Cached::slow(exactly(s(10)));
    assert_eq!(cached.get(1).await, Ok(1));
    assert_eq!(cached.get(2).await, Ok(2));
    assert_eq!(cached.get(1).await, Ok(1));
    assert_eq!(cached.get(2).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn thousand_equal_ttls_expire_within_a_tenth_on_either_side() {
    let cached = Cached::new(cache(s(100)).seed(7));
    cached.load(0..1000).await;
    advance(ms(90_000)).await;
    assert_eq!(cached.handle.cache_entries(), 1000, "none is shorter than 90 s");
    let mut left = Vec::new();
    for _ in 0..20 {
        advance(s(1)).await;
        left.push(cached.handle.cache_entries());
    }
    assert_eq!(left[19], 0, "none is longer than 110 s");
    let evenly = |second: usize| (1000 - 50 * second).abs_diff(left[second - 1]) < 60;
    assert!((1..=20).all(evenly), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn full_jitter_spreads_lifetimes_up_to_twice_the_ttl() {
    let cache = cache(s(100)).jitter(Ratio::percent(100)).seed(7);
    let cached = Cached::new(cache);
    cached.load(0..1000).await;
    let mut left = Vec::new();
    for _ in 0..4 {
        advance(s(50)).await;
        left.push(cached.handle.cache_entries());
    }
    assert_eq!(left[3], 0);
    assert!(left[0].abs_diff(750) < 60 && left[2].abs_diff(250) < 60, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn entries_expire_together_without_jitter() {
    let cached = Cached::new(exactly(s(10)));
    cached.load(0..100).await;
    advance(ms(9_999)).await;
    assert_eq!(cached.handle.cache_entries(), 100);
    advance(ms(1)).await;
    assert_eq!(cached.handle.cache_entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn equal_seeds_draw_equal_lifetimes() {
    assert_eq!(lives(Some(7)).await, lives(Some(7)).await);
    assert_ne!(lives(Some(7)).await, lives(Some(8)).await);
    assert_ne!(lives(None).await, lives(None).await);
}

/// Returns the number of entries left of 100, second by second.
async fn lives(seed: Option<u64>) -> Vec<usize> {
    let cache = cache(s(100)).jitter(Ratio::percent(50));
    let cached = Cached::new(match seed {
        Some(seed) => cache.seed(seed),
        None => cache,
    });
    cached.load(0..100).await;
    let mut left = Vec::new();
    for _ in 0..150 {
        advance(s(1)).await;
        left.push(cached.handle.cache_entries());
    }
    left
}

#[tokio::test(start_paused = true)]
async fn zero_ttl_caches_nothing() {
    let cached = Cached::slow(cache(Duration::ZERO));
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(snapshot(&cached.handle), counts!(DedupSnapshot { calls: 2, leaders: 2 }));
}

#[tokio::test(start_paused = true)]
async fn longest_ttl_is_accepted_with_any_jitter() {
    for jitter in [Ratio::ZERO, Ratio::percent(10), Ratio::percent(100), Ratio::MAX] {
        let cache = cache(Duration::MAX).jitter(jitter).seed(9);
        let cached = Cached::new(cache);
        let before = cached.source.calls();
        cached.get(7).await.unwrap();
        if jitter == Ratio::ZERO {
            advance(s(29 * 365 * 24 * 60 * 60)).await;
        }
        cached.get(7).await.unwrap();
        cached.get(7).await.unwrap();
        assert!(cached.source.calls() - before <= 2, "{jitter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn response_without_a_lifetime_is_not_cached_from_headers() {
    let cache =
        Cache::from_headers().store(place()).stale_while_revalidate(s(10)).stale_if_error(s(10));
    let cached = Cached::slow(cache);
    assert_eq!(cached.get(7).await, Ok(1));
    assert_eq!(cached.get(7).await, Ok(2));
    assert_eq!(snapshot(&cached.handle), counts!(DedupSnapshot { calls: 2, leaders: 2 }));
}

#[tokio::test(start_paused = true)]
async fn ttl_starts_when_the_response_arrives() {
    let cached = Cached::slow(exactly(s(10)));
    cached.source.takes(s(8));
    assert_eq!(cached.get(7).await, Ok(1));
    advance(ms(9_999)).await;
    assert_eq!(cached.get(7).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn failure_does_not_replace_the_entry_of_another_key() {
    let cached = Cached::slow(exactly(s(10)));
    assert_eq!(cached.get(1).await, Ok(1));
    cached.source.does(Does::Fail(TestError::Failed));
    assert_eq!(cached.get(2).await, Err(TestError::Failed));
    assert_eq!(cached.get(1).await, Ok(1));
}

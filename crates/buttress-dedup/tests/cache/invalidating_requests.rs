//! Requests that invalidate the entries of a resource.

use buttress_core::KeyOf;
use buttress_dedup::{Cache, DedupLayer};
use buttress_testkit::TestError;
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, task};

use crate::suite::Place;
use crate::support::{Cached, Does, Source, exactly, ms, s};

/// Requests below 100 read. `100 + n` changes all keys whose last digit is that of `n`.
#[derive(Clone)]
pub(crate) struct LastDigit;

impl KeyOf<u32> for LastDigit {
    type Key = u32;

    fn key(&self, request: &u32) -> Option<u32> {
        (*request < 100).then_some(*request)
    }

    fn resource(&self, key: &u32) -> Option<u64> {
        Some(hash(*key))
    }

    fn invalidates(&self, request: &u32) -> Option<u64> {
        (*request >= 100).then(|| hash(*request))
    }
}

fn hash(number: u32) -> u64 {
    u64::from(number % 10).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn keyed(source: Source, cache: Cache<Place>) -> Cached {
    Cached::over(source, &DedupLayer::keyed(LastDigit).cache(cache))
}

#[tokio::test(start_paused = true)]
async fn successful_invalidating_request_outdates_the_entries_of_its_resource() {
    let cached = keyed(Source::at_once(), exactly(s(10)));
    cached.load([7, 17, 8]).await;
    assert_eq!(cached.get(107).await, Ok(4));
    assert_eq!(cached.get(7).await, Ok(5));
    assert_eq!(cached.get(17).await, Ok(6));
    assert_eq!(cached.get(8).await, Ok(3));
    assert_eq!(cached.get(7).await, Ok(5));
    assert_eq!(cached.handle.bypassed(), 1);
}

#[tokio::test(start_paused = true)]
async fn failed_invalidating_request_outdates_nothing() {
    let cached = keyed(Source::at_once(), exactly(s(10)));
    cached.get(7).await.unwrap();
    cached.source.does(Does::Fail(TestError::Failed));
    cached.get(107).await.unwrap_err();
    assert_eq!(cached.get(7).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn response_of_a_call_before_an_invalidating_request_is_not_cached() {
    let cached = keyed(Source::new(), exactly(s(10)));
    let mut load = task::spawn(cached.get(7));
    assert_pending!(load.poll());
    cached.source.takes(ms(1));
    cached.get(107).await.unwrap();
    assert_eq!(load.await, Ok(1));
    assert_eq!(cached.handle.cache_entries(), 0);
    assert_eq!(cached.get(7).await, Ok(3));
    assert_eq!(cached.get(7).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn outdated_entry_does_not_replace_a_failure() {
    let cached = keyed(Source::at_once(), exactly(s(10)).stale_if_error(s(100)));
    cached.get(7).await.unwrap();
    advance(s(10)).await;
    cached.source.does(Does::Fail(TestError::Failed));
    assert_eq!(cached.get(7).await, Ok(1));
    // The change comes before the call, or while the call is in flight.
    for before in [false, true] {
        let cached = keyed(Source::at_once(), exactly(s(10)).stale_if_error(s(100)));
        cached.get(7).await.unwrap();
        advance(s(10)).await;
        cached.source.takes(ms(50));
        let mut load = task::spawn(cached.get(7));
        if !before {
            assert_pending!(load.poll());
        }
        sleep(ms(10)).await;
        cached.source.takes(ms(1));
        cached.get(107).await.unwrap();
        cached.source.does(Does::Fail(TestError::Failed));
        assert_eq!(load.await, Err(TestError::Failed), "before: {before}");
    }
}

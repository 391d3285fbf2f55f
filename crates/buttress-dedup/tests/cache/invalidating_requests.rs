//! Requests that change what answers are about.

use buttress_core::KeyOf;
use buttress_dedup::{Cache, DedupLayer};
use buttress_testkit::TestError;
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, task};

use crate::support::{Bare, Does, Source, exactly, get, ms, s};

/// Below a hundred a request reads; `100 + n` changes all that ends with `n`.
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

fn under(source: &Source, keep: Cache) -> (Bare, buttress_dedup::DedupHandle) {
    let layer = DedupLayer::keyed(LastDigit).cache(keep);
    (source.under(&layer), layer.handle())
}

#[tokio::test(start_paused = true)]
async fn successful_invalidating_request_outdates_the_entries_of_its_resource() {
    let source = Source::at_once();
    let (service, handle) = under(&source, exactly(s(10)));
    for key in [7, 17, 8] {
        get(&service, key).await.unwrap();
    }
    assert_eq!(get(&service, 107).await, Ok(4));
    assert_eq!((get(&service, 7).await, get(&service, 17).await), (Ok(5), Ok(6)));
    assert_eq!((get(&service, 8).await, get(&service, 7).await), (Ok(3), Ok(5)));
    assert_eq!(handle.bypassed(), 1);
}

#[tokio::test(start_paused = true)]
async fn failed_invalidating_request_outdates_nothing() {
    let source = Source::at_once();
    let (service, _) = under(&source, exactly(s(10)));
    get(&service, 7).await.unwrap();
    source.does(Does::Fail(TestError::Failed));
    get(&service, 107).await.unwrap_err();
    assert_eq!(get(&service, 7).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn response_of_a_call_before_an_invalidating_request_is_not_cached() {
    let source = Source::new();
    let (service, handle) = under(&source, exactly(s(10)));
    let mut load = task::spawn(get(&service, 7));
    assert_pending!(load.poll());
    source.takes(ms(1));
    get(&service, 107).await.unwrap();
    assert_eq!((load.await, handle.cache_entries()), (Ok(1), 0));
    assert_eq!((get(&service, 7).await, get(&service, 7).await), (Ok(3), Ok(3)));
}

#[tokio::test(start_paused = true)]
async fn outdated_entry_does_not_replace_a_failure() {
    let source = Source::at_once();
    let (service, _) = under(&source, exactly(s(10)).stale_if_error(s(100)));
    get(&service, 7).await.unwrap();
    advance(s(10)).await;
    source.does(Does::Fail(TestError::Failed));
    assert_eq!(get(&service, 7).await, Ok(1));
    // Changed before the call, and while it is made.
    for before in [false, true] {
        source.does(Does::Answer);
        let (service, _) = under(&source, exactly(s(10)).stale_if_error(s(100)));
        get(&service, 7).await.unwrap();
        advance(s(10)).await;
        source.takes(ms(50));
        let mut load = task::spawn(get(&service, 7));
        if !before {
            assert_pending!(load.poll());
        }
        sleep(ms(10)).await;
        source.takes(ms(1));
        get(&service, 107).await.unwrap();
        source.does(Does::Fail(TestError::Failed));
        assert_eq!(load.await, Err(TestError::Failed), "before: {before}");
    }
}

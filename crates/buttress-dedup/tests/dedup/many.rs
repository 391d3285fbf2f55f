//! Many keys, and many callers of one key.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::counts;
use tokio::time::advance;
use tokio_test::task;
use tower::{Layer, service_fn};
use tower_service::Service;

use crate::support::{Failure, in_one_task, ms, settle, taking, waiting};

/// A key whose clones can be counted.
#[derive(Clone)]
struct Tenant(u32, #[expect(dead_code, reason = "counted while its key is there")] Arc<()>);

impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Tenant {}

impl Hash for Tenant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn million_keys_leave_no_key_behind() {
    let alive = Arc::new(());
    let tenant = Arc::clone(&alive);
    let layer = DedupLayer::keyed(move |n: &u32| Some(Tenant(*n, Arc::clone(&tenant))));
    let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, Failure>(n) }));
    let idle = Arc::strong_count(&alive);
    for key in 0..1_000_000 {
        let mut call = task::spawn(service.call(key));
        // Every third call is dropped.
        assert!(key % 3 == 0 || call.poll() == std::task::Poll::Ready(Ok(key)));
        drop(call);
        assert_eq!(Arc::strong_count(&alive), idle);
    }
    let expected = counts!(DedupSnapshot { calls: 1_000_000, leaders: 1_000_000 });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_concurrent_keys_are_found_and_leave_nothing() {
    in_one_task(async {
        let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
        let service = layer.layer(upstream.clone());
        let mut calls: Vec<_> = (0..20_000).map(|n| Some(waiting(&service, n % 10_000))).collect();
        assert_eq!(upstream.calls(), 10_000);
        assert_eq!(layer.handle().in_flight(), 10_000);
        calls.drain(..10_000).for_each(drop);
        assert_eq!(upstream.live(), 10_000);
        assert_eq!(layer.handle().handovers(), 10_000);
        advance(ms(50)).await;
        let (polls, answers) = settle(&mut calls);
        assert_eq!(polls, 10_000);
        assert_eq!(answers.len(), 10_000);
        assert_eq!(upstream.calls(), 10_000);
        let expected = counts!(DedupSnapshot {
            calls: 20_000,
            leaders: 10_000,
            followers: 10_000,
            handovers: 10_000
        });
        assert_eq!(layer.handle().snapshot(), expected);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_are_polled_only_for_progress() {
    let steps = 100;
    let layer = DedupLayer::new();
    let service = layer.layer(service_fn(move |n: u32| async move {
        for _ in 0..steps {
            tokio::time::sleep(ms(1)).await;
        }
        Ok::<_, Failure>(n)
    }));
    let mut calls: Vec<_> = (0..10_000).map(|_| Some(waiting(&service, 1))).collect();
    assert_eq!(layer.handle().waiters(), 10_000);
    let mut polls = 0;
    for step in 1..steps {
        advance(ms(1)).await;
        polls += settle(&mut calls).0;
        // Most callers leave meanwhile, and drivers are among them.
        calls[step * 50..][..50].iter_mut().for_each(|call| *call = None);
    }
    assert!(polls <= 2 * steps, "{polls} polls for {steps} steps");
    advance(ms(1)).await;
    let (polls, answers) = settle(&mut calls);
    assert_eq!(answers.len(), 10_000 - 99 * 50);
    assert!(polls <= answers.len() + 2, "{polls}");
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn last_of_ten_thousand_callers_is_served_when_the_others_leave() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(50)));
    let service = layer.layer(upstream.clone());
    let mut calls: Vec<_> = (0..10_000).map(|_| Some(waiting(&service, 1))).collect();
    advance(ms(49)).await;
    for call in &mut calls[..9_999] {
        *call = None;
    }
    assert_eq!(layer.handle().waiters(), 1);
    assert_eq!(upstream.live(), 1);
    advance(ms(1)).await;
    assert_eq!(settle(&mut calls).1, [Ok(1)]);
}

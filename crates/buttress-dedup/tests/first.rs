//! First light.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_dedup::DedupLayer;
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::test(start_paused = true)]
async fn ten_are_one() {
    let calls = Arc::new(AtomicU32::new(0));
    let layer = DedupLayer::in_flight();
    let handle = layer.handle();
    let c = calls.clone();
    let service = ServiceBuilder::new().layer(layer).service_fn(move |x: u32| {
        let c = c.clone();
        async move {
            c.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(50)).await;
            Ok::<_, std::io::Error>(x)
        }
    });
    let all = futures_util::future::join_all((0..10).map(|_| service.clone().oneshot(7))).await;
    for a in all {
        assert_eq!(a.unwrap(), 7);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!((handle.flights(), handle.waiters(), handle.led(), handle.joined()), (0, 0, 1, 9));
}

#[tokio::test(start_paused = true)]
async fn sixty_impatient() {
    let calls = Arc::new(AtomicU32::new(0));
    let c = calls.clone();
    let service = ServiceBuilder::new().layer(DedupLayer::in_flight()).service_fn(move |x: u32| {
        let c = c.clone();
        async move {
            c.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(50)).await;
            Ok::<_, std::io::Error>(x)
        }
    });
    let start = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for i in 0..60u64 {
        let service = service.clone();
        set.spawn(async move {
            tokio::time::sleep_until(start + Duration::from_millis(5 * i)).await;
            timeout(Duration::from_millis(30), service.oneshot(1)).await.is_ok()
        });
    }
    let served = set.join_all().await.into_iter().filter(|x| *x).count();
    assert_eq!((calls.load(Ordering::SeqCst), served), (6, 36));
}

//! Kept answers.
use buttress_dedup::{DedupLayer, Keep};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::{advance, sleep};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::test(start_paused = true)]
async fn ca_01() {
    let calls = Arc::new(AtomicU32::new(0));
    let c = calls.clone();
    let s = Duration::from_secs;
    let layer = DedupLayer::in_flight()
        .keep(Keep::new(s(10)).while_revalidate(s(20)).jitter(buttress_control::Ratio::ZERO));
    let handle = layer.handle();
    let service = ServiceBuilder::new().layer(layer).service_fn(move |_x: u32| {
        let c = c.clone();
        async move {
            let n = c.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(50)).await;
            Ok::<_, std::io::Error>(n)
        }
    });
    let get = || service.clone().oneshot(7);
    assert_eq!(get().await.unwrap(), 0);
    advance(s(5)).await;
    assert_eq!(get().await.unwrap(), 0);
    advance(s(10)).await;
    let all = futures_util::future::join_all((0..100).map(|_| get())).await;
    for a in all {
        assert_eq!(a.unwrap(), 0);
    }
    sleep(s(1)).await;
    assert_eq!(get().await.unwrap(), 1);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(
        (handle.hits(), handle.stale(), handle.refreshed(), handle.kept()),
        (102, 100, 1, 1)
    );
    assert!(handle.forget(&7_u32));
    assert_eq!(get().await.unwrap(), 2);
    advance(s(31)).await;
    assert_eq!(get().await.unwrap(), 3);
}

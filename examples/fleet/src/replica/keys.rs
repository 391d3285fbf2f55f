//! Callers that need the same keys, behind a cache that the fleet shares.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use buttress::{Cache, DedupLayer, Redis, Rejection, SharedCache, layer_api::Json};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::clock::SharedClock;
use crate::job::{Job, Keys, Report};

/// Asks for each key at its time, with all callers at once.
pub(super) async fn run(job: &Job, keys: &Keys, clock: SharedClock) -> io::Result<Report> {
    let redis = Redis::open(&job.url, "fleet").map_err(io::Error::other)?;
    let shared = SharedCache::new(redis.flights().lease(keys.lease), Json);
    let layer = DedupLayer::keyed(|key: &u32| Some(*key))
        .cache(Cache::new(Duration::from_secs(60)).store(shared))
        .named(job.name.clone());
    let since_start = |start: u64| move || clock.now().saturating_sub(start);
    let now = since_start(job.start);
    let (runs, work) = (Arc::new(Mutex::new(Vec::new())), keys.work);
    let done = Arc::clone(&runs);
    let service = layer.layer(service_fn(move |key: u32| {
        let done = Arc::clone(&done);
        async move {
            sleep(work).await;
            done.lock().unwrap_or_else(PoisonError::into_inner).push((key, now()));
            Ok::<_, Rejection>(format!("value {key}"))
        }
    }));
    let first = clock.instant(job.start);
    let mut callers = JoinSet::new();
    for key in 0..keys.number {
        sleep_until(first + keys.every * key + keys.late).await;
        for _ in 0..keys.callers {
            let service = service.clone();
            callers.spawn(async move {
                let began = now();
                let is_ok = service.oneshot(key).await.is_ok();
                (is_ok, (key, began, now()))
            });
        }
    }
    let ended = callers.join_all().await;
    let failed = ended.iter().map(|(is_ok, _)| u64::from(!is_ok)).sum();
    let runs = std::mem::take(&mut *runs.lock().unwrap_or_else(PoisonError::into_inner));
    let waits = ended.into_iter().map(|(_, wait)| wait).collect();
    Ok(Report { runs, waits, failed, ..Report::default() })
}

use std::sync::Arc;

use buttress_benches::{Dedup, Failed};
use futures_util::FutureExt;
use singleflight_async::SingleFlight;
use tower::{Service, service_fn};
use uniflight::Merger;

/// The first makes each caller's future and polls one of them, so that the service inside is called
/// from within it.
pub(crate) fn dedups() -> [Dedup; 2] {
    [
        Dedup::new("uniflight 0.8", |inner| {
            let merger = Merger::new_per_process();
            service_fn(move |key: u64| {
                let mut inner = inner.clone();
                let flight = merger.execute(&key, move || async move { inner.call(key).await });
                flight.map(|outcome| outcome.unwrap_or(Err(Failed)))
            })
        }),
        Dedup::new("singleflight-async 0.2", |inner| {
            let flights = Arc::new(SingleFlight::new());
            service_fn(move |key: u64| {
                let mut inner = inner.clone();
                flights.work(key, move || inner.call(key))
            })
        }),
    ]
}

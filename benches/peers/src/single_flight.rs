use std::sync::Arc;

use buttress_benches::{Coalescer, SourceError};
use futures_util::FutureExt;
use singleflight_async::SingleFlight;
use tower::{Service, service_fn};
use uniflight::Merger;

/// uniflight makes a future for every caller and polls one of them, so the inner service is called inside
/// that future.
pub(crate) fn coalescers() -> [Coalescer; 2] {
    [
        Coalescer::new("uniflight 0.8", |inner| {
            let merger = Merger::new_per_process();
            service_fn(move |key: u64| {
                let mut inner = inner.clone();
                let flight = merger.execute(&key, move || async move { inner.call(key).await });
                flight.map(|outcome| outcome.unwrap_or(Err(SourceError)))
            })
        }),
        Coalescer::new("singleflight-async 0.2", |inner| {
            let flights = Arc::new(SingleFlight::new());
            service_fn(move |key: u64| {
                let mut inner = inner.clone();
                flights.work(key, move || inner.call(key))
            })
        }),
    ]
}

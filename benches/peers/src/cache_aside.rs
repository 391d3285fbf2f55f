use std::sync::Arc;

use buttress_benches::{Source, SourceError};
use futures_util::future::Either;
use tower::{Service, service_fn};

/// A service around a cache that knows nothing of services, as written by hand (cache-aside).
///
/// The service looks up the key. On a miss, the inner service's response is inserted.
pub(crate) fn by_hand<C>(
    inner: Source,
    cache: C,
    get: impl Fn(&C, u64) -> Option<u64> + Clone + Send,
    put: impl Fn(&C, u64, u64) + Clone + Send,
) -> impl Service<u64, Response = u64, Error = SourceError, Future: Send> + Clone + Send
where
    C: Send + Sync,
{
    let cache = Arc::new(cache);
    service_fn(move |key| {
        if let Some(response) = get(&cache, key) {
            return Either::Left(async move { Ok(response) });
        }
        let (cache, mut inner, put) = (Arc::clone(&cache), inner.clone(), put.clone());
        Either::Right(async move {
            let response = inner.call(key).await?;
            put(&cache, key, response);
            Ok(response)
        })
    })
}

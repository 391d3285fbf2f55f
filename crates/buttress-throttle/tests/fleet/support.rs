use std::time::Duration;

use buttress_core::{Plain, Reason, Rejection};
use buttress_testkit::FakeStore;
use buttress_throttle::{Fleet, FleetCells, Rate, RateLimit, Throttle, ThrottleLayer};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt, service_fn, util::ServiceFn};

pub(crate) type FleetLayer =
    ThrottleLayer<Plain, RateLimit<buttress_throttle::UnitCost, FleetCells>>;

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn replica(store: &FakeStore, rate: Rate, replicas: u32) -> FleetLayer {
    ThrottleLayer::rate(rate).fleet(Fleet::new(store.clone(), replicas))
}

/// A call of a layer: admitted, or the reason and the retry delay of its rejection.
pub(crate) async fn call<L>(layer: &L) -> Result<(), (Reason, Option<Duration>)>
where
    L: Layer<Inner>,
    L::Service: Service<u32, Response = u32, Error = Rejection>,
{
    let service = layer.layer(inner());
    match service.oneshot(1).await {
        Ok(_) => Ok(()),
        Err(rejection) => Err((rejection.reason(), rejection.retry_after())),
    }
}

pub(crate) type Inner = ServiceFn<fn(u32) -> std::future::Ready<Result<u32, Rejection>>>;

/// Makes `calls` calls at the end of each millisecond for this time. Returns the number of admitted
/// calls.
pub(crate) async fn load<L>(layers: &[L], calls: u32, time: Duration) -> u64
where
    L: Layer<Inner>,
    L::Service: Service<u32, Response = u32, Error = Rejection>,
{
    let (start, mut admitted) = (Instant::now(), 0);
    while start.elapsed() < time {
        for layer in layers {
            for _ in 0..calls {
                admitted += u64::from(call(layer).await.is_ok());
            }
        }
        advance(millis(1)).await;
        tokio::task::yield_now().await;
    }
    admitted
}

pub(crate) fn throttled<L>(
    layer: &L,
) -> Throttle<Inner, Plain, RateLimit<buttress_throttle::UnitCost, FleetCells>>
where
    L: Layer<
            Inner,
            Service = Throttle<Inner, Plain, RateLimit<buttress_throttle::UnitCost, FleetCells>>,
        >,
{
    layer.layer(inner())
}

pub(crate) fn inner() -> Inner {
    service_fn(answer as fn(u32) -> _)
}

fn answer(number: u32) -> std::future::Ready<Result<u32, Rejection>> {
    std::future::ready(Ok(number))
}

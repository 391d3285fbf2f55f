//! The names of the buckets.

use buttress::{
    Rate, Redis, Rejection, ThrottleLayer,
    throttle::{Fleet, Rates},
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Server, eventually};

/// A21: an operator is told the name that the layer uses.
#[tokio::test]
async fn bucket_has_the_name_that_an_operator_is_told() {
    let Some(server) = Server::start("names of buckets").await else { return };
    let redis = Redis::open(server.url(), "shop").unwrap();
    eventually("a connection", async || redis.snapshot().is_connected).await;
    let quotas = redis.quotas();
    let rates = Rates::new(Rate::per_hour(10)).and(Rate::per_hour(20));
    let layer = ThrottleLayer::rates(rates).fleet(Fleet::new(quotas.clone(), 2)).named("orders");
    let keyed = layer.clone().keyed(|number: &u64| Some(*number));
    let crowded = keyed.clone().named("crowded").max_keys(0);
    let mut expected = vec![];
    call(&layer).await;
    expected.extend((0..2).map(|rate| quotas.bucket_name("orders", Some(&()), rate)));
    assert_eq!(names(&server).await, sorted(&expected));
    call(&keyed).await;
    expected.extend((0..2).map(|rate| quotas.bucket_name("orders", Some(&42_u64), rate)));
    assert_eq!(names(&server).await, sorted(&expected));
    call(&crowded).await;
    expected.extend((0..2).map(|rate| quotas.bucket_name::<u64>("crowded", None, rate)));
    assert_eq!(names(&server).await, sorted(&expected));
}

async fn call<L>(layer: &L)
where
    L: Layer<Echo>,
    L::Service: Service<u64, Response = u64, Error = Rejection>,
{
    layer.layer(service_fn(echo as fn(u64) -> _)).oneshot(42).await.unwrap();
}

type Echo = tower::util::ServiceFn<fn(u64) -> std::future::Ready<Result<u64, Rejection>>>;

fn echo(number: u64) -> std::future::Ready<Result<u64, Rejection>> {
    std::future::ready(Ok(number))
}

async fn names(server: &Server) -> Vec<String> {
    sorted(&server.run::<Vec<String>>(&["KEYS", "*"]).await)
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

//! The builder: places, names, budget and seed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use buttress_core::{BoxError, Reason, Rejection};
use buttress_stack::{
    BreakerLayer, Budget, Client, ClientConfig, Custom, DeadlineLayer, DedupLayer, FallbackLayer,
    HedgeLayer, OrderLayer, RetryLayer, Server, ServerConfig, ThrottleLayer, client,
    client_for_aws, client_for_grpc, client_for_http, server,
};
use buttress_testkit::{Events, Script};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn, util::MapRequestLayer};

async fn answer(row: u32) -> Result<u32, BoxError> {
    Ok(row)
}

async fn hang(_: u32) -> Result<u32, BoxError> {
    std::future::pending().await
}

async fn fail(_: u32) -> Result<u32, BoxError> {
    Err("down".into())
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn every_preset_answers_a_call() {
    for client in [client(), client_for_http(), client_for_grpc(), client_for_aws()] {
        assert_eq!(client.service(service_fn(answer)).oneshot(7).await.unwrap(), 7);
    }
    assert_eq!(server().service(service_fn(answer)).oneshot(7).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn nine_places_answer_a_call_in_any_order_of_the_builder() {
    let client = client()
        .attempt(DeadlineLayer::new(SECOND))
        .throttle(ThrottleLayer::concurrency(1).keyed(|row: &u32| Some(*row)))
        .fallback(FallbackLayer::value(0))
        .breaker(BreakerLayer::new().keyed(|row: &u32| Some(*row)))
        .dedup(DedupLayer::new())
        .hedge(HedgeLayer::learned())
        .order(OrderLayer::serial(|row: &u32| Some(*row)))
        .deadline(DeadlineLayer::new(3 * SECOND))
        .retry(RetryLayer::new(2));
    assert_eq!(client.service(service_fn(answer)).oneshot(7).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn stack_is_a_layer_too() {
    let service = Layer::layer(&client(), service_fn(answer));
    assert_eq!(service.oneshot(7).await.unwrap(), 7);
    let service = Layer::layer(&server(), service_fn(answer));
    assert_eq!(service.oneshot(7).await.unwrap(), 7);
}

#[test]
fn stacks_and_their_services_are_clone_send_and_sync() {
    fn check<T: Clone + Send + Sync + 'static>(_: &T) {}
    check(&client());
    check(&server());
    check(&client().service(service_fn(answer)));
    check(&server().service(service_fn(answer)));
}

#[test]
fn types_without_parameters_are_those_of_the_standard_stacks() {
    let _: Client = client();
    let _: Server = server();
}

#[tokio::test(start_paused = true)]
async fn attempts_time_out_inside_the_deadline_of_the_call() {
    let start = Instant::now();
    let error = client().service(service_fn(hang)).oneshot(7).await.unwrap_err();
    // Three attempts of 10 s, and waits between them, do not fit into 30 s.
    assert_eq!(error.downcast_ref::<Rejection>().unwrap().reason(), Reason::DeadlineExceeded);
    assert_eq!(start.elapsed(), 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn each_layer_is_named_after_its_stack_and_place() {
    let client = client().named("payments").retry(RetryLayer::new(1).named("mine"));
    let error = client.service(service_fn(hang)).oneshot(7).await.unwrap_err();
    let rejection = error.downcast_ref::<Rejection>().unwrap();
    assert_eq!(rejection.origin().name(), "payments.attempt");

    let events = Events::record();
    client.service(service_fn(fail)).oneshot(7).await.unwrap_err();
    let stopped = events.named("retry.stopped");
    assert_eq!(stopped[0].field("instance"), Some("payments.retry"));
}

#[tokio::test(start_paused = true)]
async fn layer_that_is_put_in_after_named_is_named_too() {
    let client = client().named("payments").attempt(DeadlineLayer::new(SECOND)).without_retry();
    let error = client.service(service_fn(hang)).oneshot(7).await.unwrap_err();
    let rejection = error.downcast_ref::<Rejection>().unwrap();
    assert_eq!(rejection.origin().name(), "payments.attempt");
}

#[tokio::test(start_paused = true)]
async fn server_names_its_layers() {
    let server = server().named("checkout").throttle(ThrottleLayer::concurrency(0));
    let error = server.service(service_fn(answer)).oneshot(7).await.unwrap_err();
    let rejection = error.downcast_ref::<Rejection>().unwrap();
    assert_eq!(rejection.origin().name(), "checkout.throttle");
}

#[tokio::test(start_paused = true)]
async fn empty_places_leave_the_service_as_it_is() {
    let client = client()
        .without_fallback()
        .without_deadline()
        .without_dedup()
        .without_order()
        .without_retry()
        .without_hedge()
        .without_breaker()
        .without_throttle()
        .without_attempt();
    let bare = service_fn(answer);
    let wrapped = client.service(bare);
    assert_eq!(size_of_val(&wrapped), size_of_val(&bare));
    assert_eq!(wrapped.oneshot(7).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn custom_layer_takes_any_place() {
    let double = MapRequestLayer::new(|row: u32| row * 2);
    let client = client().fallback(Custom(double.clone())).throttle(Custom(double));
    assert_eq!(client.service(service_fn(answer)).oneshot(7).await.unwrap(), 28);
}

#[tokio::test(start_paused = true)]
async fn retry_and_hedge_are_paid_from_one_budget() {
    let budget = Budget::tokens(buttress_control::TokenBucket::new(10));
    let hedge = || HedgeLayer::after(Duration::from_millis(50)).budget(Budget::unlimited());
    // Whatever the order of the builder's calls.
    for client in [
        client().budget(budget.clone()).hedge(hedge()),
        client().hedge(hedge()).budget(budget.clone()),
        client().hedge(hedge()).retry(RetryLayer::new(3)).budget(budget.clone()),
    ] {
        let slow = service_fn(|row: u32| async move {
            sleep(SECOND).await;
            Ok::<_, BoxError>(row)
        });
        let before = budget.balance().unwrap();
        client.service(slow).oneshot(7).await.unwrap();
        // A hedge costs 5 tokens, and the success of the first try earns 1.
        assert_eq!(budget.balance().unwrap(), before - 5 + 1);
        for _ in 0..4 {
            client.service(service_fn(answer)).oneshot(7).await.unwrap();
        }
        assert_eq!(budget.balance(), Some(10));
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_shares_the_budget_of_whichever_retry_stands_in_the_place() {
    let empty = || Budget::new(buttress_control::Ratio::ZERO, 0);
    let hedge = || HedgeLayer::after(Duration::from_millis(50)).budget(Budget::unlimited());
    let retry = || RetryLayer::new(3).budget(empty());
    for (client, hedged) in [
        (client().hedge(hedge()).retry(retry()), 0),
        (client().retry(retry()).hedge(hedge()), 0),
        (client().hedge(hedge().share(Budget::unlimited())).retry(retry()), 1),
    ] {
        let tries = Arc::new(AtomicU32::new(0));
        let slow = service_fn({
            let tries = Arc::clone(&tries);
            move |row: u32| {
                tries.fetch_add(1, Relaxed);
                async move {
                    sleep(SECOND).await;
                    Ok::<_, BoxError>(row)
                }
            }
        });
        client.service(slow).oneshot(7).await.unwrap();
        assert_eq!(tries.load(Relaxed), 1 + hedged);
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_without_a_retry_is_paid_from_its_own_budget_only() {
    let hedge = || HedgeLayer::after(Duration::from_millis(50)).budget(Budget::unlimited());
    let poor = || RetryLayer::new(3).budget(Budget::new(buttress_control::Ratio::ZERO, 0));
    let first = client().retry(poor()).hedge(hedge()).without_retry();
    let then = client().retry(poor()).without_retry().hedge(hedge());
    for client in [first, then] {
        let events = Events::record();
        let script = Script::new().delay(SECOND).answer(|row: u32| Ok::<_, BoxError>(row)).times(2);
        client.service(script.service()).oneshot(7).await.unwrap();
        assert_eq!(events.count("hedge.sent"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn same_seed_gives_the_same_backoff() {
    async fn waits(client: Client) -> Duration {
        let start = Instant::now();
        client.service(service_fn(fail)).oneshot(7).await.unwrap_err();
        start.elapsed()
    }
    let first = waits(client().seed(7)).await;
    assert_eq!(waits(client().seed(7)).await, first);
    assert_eq!(waits(client().seed(7).retry(RetryLayer::new(3))).await, first);
    assert_eq!(waits(client().retry(RetryLayer::new(3)).seed(7)).await, first);
    assert_ne!(waits(client().seed(8)).await, first);
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_circuit() {
    let client = client().without_retry();
    let clone = client.clone();
    for _ in 0..5 {
        client.service(service_fn(fail)).oneshot(7).await.unwrap_err();
    }
    let error = clone.service(service_fn(answer)).oneshot(7).await.unwrap_err();
    let rejection = error.downcast_ref::<Rejection>().unwrap();
    assert_eq!(rejection.origin().name(), "client.breaker");
}

/// Holds for all types in one `Way`, and for `Into<Other>` in two. Then `_` is ambiguous.
trait Apart<Other, Way> {
    fn check() {}
}

impl<T, Other> Apart<Other, ()> for T {}
impl<T: Into<Other>, Other> Apart<Other, [(); 1]> for T {}

/// A conversion would drop settings without a word. The test compiles only if there is none.
#[test]
fn configurations_of_clients_and_servers_do_not_turn_into_each_other() {
    <ServerConfig as Apart<ClientConfig, _>>::check();
    <ClientConfig as Apart<ServerConfig, _>>::check();
}

//! What the contract says of layers that keep it, and of those that do not.

use std::time::Duration;

use buttress_core::BoxError;
use buttress_testkit::contract;
use tower::{
    layer::util::{Identity, Stack},
    limit::ConcurrencyLimitLayer,
    timeout::TimeoutLayer,
    util::MapErrLayer,
};

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_nothing_keeps_the_contract() {
    contract(Identity::new).await;
}

#[tokio::test(start_paused = true)]
async fn layers_that_keep_the_contract_keep_it_together() {
    contract(|| Stack::new(Identity::new(), MapErrLayer::new(|error: BoxError| error))).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_tower_keeps_the_contract() {
    contract(|| TimeoutLayer::new(Duration::from_secs(1))).await;
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_of_tower_keeps_the_contract() {
    contract(|| ConcurrencyLimitLayer::new(64)).await;
}

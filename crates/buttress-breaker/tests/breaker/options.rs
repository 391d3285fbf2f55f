//! Options are values: none changes a clone made before. Clones and services share a circuit.

use buttress_breaker::{Backoff, BreakerLayer, CircuitState, Ratio};
use buttress_core::{BoxError, Rejection};
use buttress_testkit::Probe;
use tower::{Layer, ServiceExt};

use crate::support::{SECOND, rules};

fn echo() -> Probe<u32, u32, BoxError> {
    Probe::new(Ok)
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_layer_and_all_services_share_a_circuit() {
    let layer = BreakerLayer::new();
    let services = [layer.layer(echo()), layer.clone().layer(echo())];
    layer.handle().open();
    for service in services {
        assert_eq!(service.handle().state(), CircuitState::Open);
        service.clone().oneshot(1).await.unwrap_err();
        service.oneshot(1).await.unwrap_err();
    }
    assert_eq!(layer.handle().rejected(), 4);
}

#[tokio::test(start_paused = true)]
async fn each_service_has_a_circuit_of_its_own_per_service() {
    let layer = BreakerLayer::new().consecutive(3).per_service();
    let [one, two] = [layer.layer(echo()), layer.layer(echo())];
    one.handle().open();
    one.clone().oneshot(1).await.unwrap_err();
    two.clone().oneshot(1).await.unwrap();
    assert_eq!((one.handle().rejected(), two.handle().rejected()), (1, 0));
    assert_eq!(
        (one.handle().rules(), layer.handle().state()),
        (rules().consecutive(3), CircuitState::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn option_of_a_rule_returns_a_layer_with_fresh_state() {
    let layer = BreakerLayer::new();
    let handle = layer.handle();
    handle.open();
    let changed: [BreakerLayer; 8] = [
        layer.clone().failures(Ratio::percent(10), 100),
        layer.clone().consecutive(9),
        layer.clone().slow(SECOND, Ratio::percent(50)),
        layer.clone().window(30 * SECOND),
        layer.clone().open_for(Backoff::none()),
        layer.clone().probes(1, 1),
        layer.clone().ramp(SECOND, &[]),
        layer.clone().probe_patience(SECOND),
    ];
    for layer in changed {
        assert_eq!(layer.handle().state(), CircuitState::Closed);
        assert_ne!(layer.handle().rules(), rules());
    }
    assert_eq!((handle.state(), handle.rules()), (CircuitState::Open, rules()));
}

#[tokio::test(start_paused = true)]
async fn every_other_option_shares_the_circuit_and_changes_no_clone() {
    let layer = BreakerLayer::new();
    let changed = [
        layer.clone().named("other"),
        layer.clone().observe(),
        layer.clone().patience(SECOND),
        layer.clone().seed(7),
    ];
    layer.handle().open();
    for changed in changed {
        assert_eq!(changed.handle().state(), CircuitState::Open);
    }
    let error = layer.layer(echo()).oneshot(1).await.unwrap_err();
    assert_eq!(Rejection::find(&error).unwrap().origin().name(), "breaker");
}

#[tokio::test(start_paused = true)]
async fn options_are_kept_in_any_order() {
    let one = BreakerLayer::new().named("db").consecutive(3).observe().window(SECOND);
    let two = BreakerLayer::new().window(SECOND).observe().consecutive(3).named("db");
    for layer in [one, two] {
        assert_eq!(layer.handle().rules(), rules().consecutive(3).window(SECOND));
        layer.handle().open();
        assert_eq!(layer.layer(echo()).oneshot(1).await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn rules_that_were_set_live_are_those_that_an_option_changes() {
    let layer = BreakerLayer::new();
    layer.handle().set_rules(rules().consecutive(9));
    assert_eq!(layer.window(SECOND).handle().rules(), rules().consecutive(9).window(SECOND));
}

#[test]
fn handle_shows_the_patience_that_was_set() {
    assert_eq!(BreakerLayer::new().handle().patience(), None);
    assert_eq!(BreakerLayer::new().patience(SECOND).handle().patience(), Some(SECOND));
}

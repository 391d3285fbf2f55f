//! The state of circuits as a metric.

use std::collections::BTreeMap;

use buttress_breaker::{BreakerLayer, CircuitState};
use buttress_core::{BoxError, Measure, MetricValue};
use tower::{Layer, ServiceExt, service_fn};

/// The number of circuits in each state that has any.
fn states(handle: &dyn Measure) -> BTreeMap<&'static str, f64> {
    let mut states = BTreeMap::new();
    let mut readings = 0;
    handle.measure(&mut |reading| {
        if let (Some(("state", state)), MetricValue::Gauge(circuits)) =
            (reading.label(), reading.value())
        {
            readings += 1;
            if circuits > 0.0 {
                states.insert(state, circuits);
            }
        }
    });
    assert_eq!(readings, CircuitState::ALL.len(), "each state has a reading");
    states
}

#[tokio::test(start_paused = true)]
async fn present_state_counts_one_circuit() {
    let handle = BreakerLayer::new().handle();
    assert_eq!(states(&handle), BTreeMap::from([("closed", 1.0)]));
    handle.open();
    assert_eq!(states(&handle), BTreeMap::from([("open", 1.0)]));
    let isolation = handle.isolate();
    assert_eq!(states(&handle), BTreeMap::from([("isolated", 1.0)]));
    drop(isolation);
    handle.disable();
    assert_eq!(states(&handle), BTreeMap::from([("disabled", 1.0)]));
}

#[tokio::test(start_paused = true)]
async fn circuits_of_keys_count_in_their_states() {
    let layer = BreakerLayer::new().consecutive(1).keyed(|n: &u32| Some(*n));
    let handle = layer.handle();
    assert_eq!(states(&handle), BTreeMap::from([("closed", 1.0)]), "the shared circuit");
    let service = layer.layer(service_fn(|n: u32| async move {
        if n < 3 { Err(BoxError::from("failed")) } else { Ok(n) }
    }));
    for key in 0..5 {
        let _ = service.clone().oneshot(key).await;
    }
    let held: Vec<_> = (0..5).filter_map(|key| handle.for_key(&key)).collect();
    assert_eq!(held.len(), 5);
    assert_eq!(states(&handle), BTreeMap::from([("closed", 3.0), ("open", 3.0)]));
}

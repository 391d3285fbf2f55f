//! A retry in the place of the circuit breaker.

use buttress::{RetryLayer, client};

fn main() {
    let _ = client().breaker(RetryLayer::new(3));
}

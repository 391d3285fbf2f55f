//! Early refresh of cached values (`XFetch`).

use std::time::Duration;

use buttress_control::{EarlyRefresh, Random};

#[test]
fn is_due_matches_the_formula() {
    // −ln(0.5) = 0.693…, −ln(1) = 0.
    let law = EarlyRefresh::OPTIMAL;
    let ms = Duration::from_millis;
    assert!(law.is_due(ms(693), ms(1000), 0.5));
    assert!(!law.is_due(ms(694), ms(1000), 0.5));
    assert!(EarlyRefresh::new(2.0).is_due(ms(1386), ms(1000), 0.5));
    assert!(law.is_due(Duration::ZERO, ms(1000), 1.0));
    assert!(!law.is_due(ms(1), ms(1000), 1.0));
}

#[test]
fn expired_value_is_always_due_and_beta_of_zero_waits_for_expiry() {
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let law = EarlyRefresh::new(beta);
        assert!(law.is_due(Duration::ZERO, Duration::from_secs(9), 0.01), "{beta}");
        assert!(!law.is_due(Duration::from_nanos(1), Duration::from_secs(9), 0.01), "{beta}");
    }
}

#[test]
fn any_chance_is_accepted_without_a_panic() {
    for chance in [0.0, -1.0, 2.0, f64::NAN, f64::INFINITY] {
        let _ = EarlyRefresh::OPTIMAL.is_due(Duration::MAX, Duration::MAX, chance);
    }
}

/// The time before expiry at which one caller renews is exponential with the mean `took · beta`.
#[test]
fn caller_is_due_one_computation_early_with_probability_one_in_e() {
    let random = Random::seeded(7);
    let took = Duration::from_millis(20);
    let due = (0..100_000)
        .filter(|_| EarlyRefresh::OPTIMAL.is_due(took, took, 1.0 - random.draw()))
        .count();
    let share = f64::from(u32::try_from(due).unwrap_or(u32::MAX)) / 100_000.0;
    assert!((share - (-1.0_f64).exp()).abs() < 0.01, "{share}");
}

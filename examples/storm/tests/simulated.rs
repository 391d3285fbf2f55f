//! The storm in virtual time.

use buttress_storm::simulated::{buttress, linear};

/// Three dependent calls under .75³ of health: the calibration of the storm.
#[test]
fn linear_client_completes_41_to_42_percent_of_its_operations_for_each_of_24_seeds() {
    let mut rates: Vec<_> = (1..=24).map(|seed| linear(seed, 2000).success_rate()).collect();
    rates.sort_by(f64::total_cmp);
    let (least, most) = (rates[0], rates[23]);
    println!("linear: {least:.4} to {most:.4}");
    assert!(least >= 0.405 && most <= 0.425, "{least} to {most}");
}

#[test]
fn client_with_layers_completes_98_percent_and_sends_the_upstream_fewer_requests() {
    for seed in 1..=3 {
        let (linear, buttress) = (linear(seed, 600), buttress(seed, 600));
        assert!(linear.success_rate() < 0.5, "seed {seed}: {}", linear.success_rate());
        assert!(buttress.success_rate() >= 0.98, "seed {seed}: {}", buttress.success_rate());
        assert!(
            buttress.requests < linear.requests * 3 / 2,
            "seed {seed}: {} and {} requests",
            buttress.requests,
            linear.requests
        );
    }
}

#[test]
fn storm_of_a_seed_is_the_same_in_each_run() {
    let (first, second) = (buttress(7, 200), buttress(7, 200));
    assert_eq!(first.log, second.log);
    assert_eq!(first, second);
    assert_ne!(first.log, buttress(8, 200).log);
}

//! The wall clock of the layers, and its simulation.

use std::time::{Duration, SystemTime};

use buttress_core::WallClock;
use tokio::time::advance;

fn epoch(after: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(after)
}

fn is_of_the_system(date: SystemTime) -> bool {
    date > epoch(1_700_000_000)
}

#[tokio::test(start_paused = true)]
async fn simulated_wall_clock_moves_with_paused_time_until_its_guard_is_dropped() {
    let guard = WallClock::simulate(epoch(10));
    assert_eq!(WallClock::now(), epoch(10));
    assert!(WallClock::is_simulated());
    advance(Duration::from_secs(5)).await;
    assert_eq!(WallClock::now(), epoch(15));
    drop(guard);
    assert!(!WallClock::is_simulated());
    assert!(is_of_the_system(WallClock::now()));
}

#[tokio::test(start_paused = true)]
async fn nested_simulation_restores_the_outer_one() {
    let _outer = WallClock::simulate(epoch(10));
    {
        let _inner = WallClock::simulate(epoch(1_000));
        assert_eq!(WallClock::now(), epoch(1_000));
    }
    assert_eq!(WallClock::now(), epoch(10));
}

#[tokio::test(start_paused = true)]
async fn simulation_is_that_of_one_thread() {
    let _guard = WallClock::simulate(epoch(10));
    let other = std::thread::spawn(WallClock::now).join();
    assert!(other.is_ok_and(is_of_the_system));
}

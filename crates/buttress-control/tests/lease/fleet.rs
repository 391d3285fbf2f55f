//! Whole fleets in simulated time: the figures of a prototype, and its regressions.

use buttress_control::{LeaseRules, Nanos, Rate};

use crate::sim::{Event, Fleet, MILLI, Network};

const CALM: Network = Network { slowest: 2 * MILLI, lost_requests: 0.0, lost_replies: 0.0 };

fn rules(rate: Rate, replicas: u32) -> LeaseRules {
    LeaseRules::new([rate], replicas)
}

/// 4 replicas, 5,000/s, burst 1,000, 70 % load: chapter 2's row with H = 50.
#[test]
fn fleet_below_its_rate_is_never_denied_and_asks_seldom() {
    let mut fleet = Fleet::new(rules(Rate::per_second(5000).burst(1000), 4), 4, CALM, 1);
    fleet.offer(0, 3000 * MILLI, 3500);
    fleet.run();
    assert_eq!(fleet.denied, 0);
    let (trips, calls) = (fleet.trips, fleet.cells(0, u64::MAX));
    assert_eq!(calls, 10_501);
    assert!(trips * 1000 <= calls * 60, "{trips} trips for {calls} calls");
    assert_eq!(fleet.over(Rate::per_second(5000).burst(1000), |_| true), 0);
}

/// 32 replicas at 3 times the rate: the pace bounds the requests that bring nothing.
#[test]
fn overloaded_fleet_makes_few_empty_requests_and_admits_the_rate() {
    let rate = Rate::per_second(5000);
    let mut fleet = Fleet::new(rules(rate, 32), 32, CALM, 2);
    fleet.offer(0, 3000 * MILLI, 15_000);
    fleet.run();
    let (trips, cells) = (fleet.trips, fleet.cells(2000 * MILLI, 3000 * MILLI));
    // After the burst, the rate.
    assert!((4850..=5000).contains(&cells), "{cells} cells");
    let all = fleet.cells(0, u64::MAX);
    assert!(trips * 100 <= all * 40, "{trips} trips for {all} cells");
    assert_eq!(fleet.over(rate, |_| true), 0);
}

/// A replica that starts among busy ones gets cells too, because a request takes what is there.
#[test]
fn late_replica_gets_cells_of_an_overloaded_fleet() {
    let mut fleet = Fleet::new(rules(Rate::per_second(2000), 4), 4, CALM, 3);
    for time in 0..3000 {
        for replica in 0..3 {
            fleet.at(time * MILLI, Event::Call { replica, cost: 1 });
            fleet.at(time * MILLI + 1, Event::Call { replica, cost: 1 });
        }
        if time >= 1000 {
            fleet.at(time * MILLI, Event::Call { replica: 3, cost: 1 });
        }
    }
    let before = fleet.replicas[3].lease.clone();
    fleet.run();
    assert!(before.is_idle(Nanos::new(0)));
    assert!(fleet.admitted[3] > 100, "{:?}", fleet.admitted);
}

/// The time to `min` cells, and not to all that were wanted: see chapter 4.1.
#[test]
fn short_grant_denies_until_the_first_cell_and_not_until_all() {
    let rate = Rate::per_second(20).burst(400);
    let mut fleet = Fleet::new(rules(rate, 2).exact(), 2, CALM, 4);
    fleet.at(0, Event::Call { replica: 0, cost: 400 });
    for time in 1..40 {
        fleet.at(time * 5 * MILLI, Event::Call { replica: 1, cost: 1 });
    }
    fleet.run();
    // 20/s bring 3 cells in 195 ms. By the time to a whole burst there were none.
    assert_eq!(fleet.admitted, [400, 3]);
}

/// A key with a call every 100 ms holds nothing, so no cell is stranded.
#[test]
fn cold_key_strands_no_cells() {
    let mut fleet = Fleet::new(rules(Rate::per_second(1000), 4), 4, CALM, 5);
    fleet.offer(0, 4000 * MILLI, 40);
    fleet.run();
    let expired: u64 = fleet.replicas.iter().map(|replica| replica.expired).sum();
    assert_eq!((expired, fleet.denied), (0, 0));
    assert_eq!(fleet.trips, 160);
}

/// A clock of the store that steps back 60 s: the bucket is empty at worst, so the burst comes back
/// after its time, and not after 60 s.
#[test]
fn clock_step_back_refuses_for_the_time_of_the_burst_only() {
    let rate = Rate::per_second(1000).burst(500);
    let mut fleet = Fleet::new(rules(rate, 2), 2, CALM, 6);
    fleet.offer(0, 6000 * MILLI, 500);
    fleet.at(2000 * MILLI, Event::Step(-60_000));
    fleet.run();
    let last = fleet.cells(3000 * MILLI, 6000 * MILLI);
    assert_eq!(last, 1500, "all calls from 1 s after the step on");
    assert_eq!(fleet.over(rate, |_| true), 0);
}

/// L6: with the debt, a fleet keeps its rate over the whole run.
#[test]
fn debt_takes_back_what_the_shares_admitted() {
    let rate = Rate::per_second(2000).burst(400);
    let over = |shares| {
        let mut fleet = Fleet::new(rules(rate, 4), 4, CALM, 7);
        fleet.shares = shares;
        fleet.offer(0, 6000 * MILLI, 6000);
        fleet.at(2000 * MILLI, Event::Reachable(false));
        fleet.at(4000 * MILLI, Event::Reachable(true));
        fleet.run();
        (fleet.over(rate, |_| true), fleet.cells(2100 * MILLI, 4000 * MILLI), fleet.store.debt)
    };
    let (over_all, outage, debt) = over(true);
    assert!((3700..=3900).contains(&outage), "{outage} of 3800 cells in the outage");
    assert!(debt >= outage, "{debt} cells of debt");
    assert!(over_all <= 8, "{over_all} cells over, 2 % of the burst are 8");
    assert_eq!(over(false), (0, 0, 0));
}

/// L7: the bucket is lost under active replicas, and starts empty.
#[test]
fn lost_state_starts_empty_under_active_replicas() {
    let rate = Rate::per_second(2000).burst(400);
    let mut fleet = Fleet::new(rules(rate, 4), 4, CALM, 8);
    fleet.offer(0, 3000 * MILLI, 6000);
    for time in [800, 1500, 2200] {
        fleet.at(time * MILLI, Event::Flush);
    }
    fleet.run();
    assert_eq!(fleet.store.lost, 3);
    assert_eq!(fleet.over(rate, |_| true), 0);
}

/// The adversary: each replica hoards its cells, waits for a full bucket, and all spend at once.
#[test]
fn hoarded_cells_and_a_full_bucket_stay_within_the_burst() {
    let rates = [(Rate::per_second(5000).burst(1000), 4), (Rate::per_second(5000).burst(2500), 16)];
    for (rate, replicas) in rates {
        // If the store grants by the whole burst, the hoarded cells come on top.
        for keeps_reserve in [true, false] {
            let mut fleet = Fleet::new(rules(rate, replicas), replicas as usize, CALM, 9);
            fleet.grants_whole_burst = !keeps_reserve;
            fleet.offer(0, 1000 * MILLI, 4500);
            // Without a call for 160 ms, the bucket fills up while the slots live.
            for replica in 0..replicas as usize {
                for _ in 0..rate.burst_size() {
                    fleet.at(1160 * MILLI, Event::Call { replica, cost: 1 });
                }
            }
            fleet.run();
            let over = fleet.over(rate, |_| true);
            assert_eq!(over == 0, keeps_reserve, "{over} cells over {rate:?}");
        }
    }
}

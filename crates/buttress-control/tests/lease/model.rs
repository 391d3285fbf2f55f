//! The lease law under random faults: what a fleet spends, replayed through the rate.

use std::time::Duration;

use buttress_control::{LeaseKind, LeaseRules, Rate, Ratio};
use proptest::{collection::vec, prelude::*};

use crate::sim::{Event, Fleet, MILLI, Network, nanos};

/// What happens in a run of 2 s.
#[derive(Clone, Debug)]
struct Plan {
    rate: Rate,
    replicas: usize,
    reserve: u32,
    lease: u64,
    per_second: u64,
    slowest: u64,
    lost_requests: f64,
    lost_replies: f64,
    costly: Vec<(u64, usize, u32)>,
    bursts: Vec<(u64, usize, u32)>,
    faults: Vec<(u64, Event)>,
    seed: u64,
}

impl Plan {
    fn rules(&self) -> LeaseRules {
        LeaseRules::new([self.rate], u32::try_from(self.replicas).unwrap())
            .reserve(Ratio::percent(self.reserve))
            .lease(Duration::from_millis(self.lease))
    }

    fn fleet(&self) -> Fleet {
        let network = Network {
            slowest: self.slowest * MILLI,
            lost_requests: self.lost_requests,
            lost_replies: self.lost_replies,
        };
        let rules = self.rules();
        let most = rules.max_cost();
        let mut fleet = Fleet::new(rules, self.replicas, network, self.seed);
        fleet.offer(0, END, self.per_second);
        for (time, replica, cost) in &self.costly {
            let replica = replica % self.replicas;
            fleet.at(*time, Event::Call { replica, cost: (*cost).min(most) });
        }
        for (time, replica, calls) in &self.bursts {
            for _ in 0..*calls {
                fleet.at(*time, Event::Call { replica: replica % self.replicas, cost: 1 });
            }
        }
        for (time, fault) in &self.faults {
            let fault = match *fault {
                Event::Crash { replica } => Event::Crash { replica: replica % self.replicas },
                fault => fault,
            };
            fleet.at(*time, fault);
        }
        fleet
    }

    fn costs_more_than(&self, cells: u32) -> bool {
        self.costly.iter().any(|(_, _, cost)| *cost > cells)
    }

    /// The number of bursts that faults of the store's state can add: each loss, and each step of its
    /// clock that lets a bucket fill.
    fn extra(&self) -> u64 {
        let adds = |fault: &&(u64, Event)| match fault.1 {
            Event::Flush => true,
            Event::Step(millis) => millis > 0,
            _ => false,
        };
        self.faults.iter().filter(adds).count() as u64
    }
}

fn any_rate() -> impl Strategy<Value = Rate> {
    let count = prop_oneof![5_u32..100, 100_u32..4000];
    (count, 1_u32..100)
        .prop_map(|(count, part)| Rate::per_second(count).burst(count.saturating_mul(part) / 40))
}

fn fault() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_usize..8).prop_map(|replica| Event::Crash { replica }),
        any::<bool>().prop_map(Event::Reachable),
        Just(Event::Flush),
        (-60_000_i64..60_000).prop_map(Event::Step),
    ]
}

fn plans() -> impl Strategy<Value = Plan> {
    let fleet = (any_rate(), 1_usize..8, 0_u32..60, 15_u64..400);
    let network = (50_u64..6000, 0_u64..40, 0.0..0.2, 0.0..0.2);
    let calls =
        (vec((0..END, 0_usize..8, 2_u32..90), 0..12), vec((0..END, 0_usize..8, 1_u32..400), 0..6));
    let faults = (vec((0..END, fault()), 0..6), any::<u64>());
    (fleet, network, calls, faults).prop_map(|(fleet, network, calls, (faults, seed))| {
        let (rate, replicas, reserve, lease) = fleet;
        let (per_second, slowest, lost_requests, lost_replies) = network;
        let (costly, bursts) = calls;
        Plan {
            rate,
            replicas,
            reserve,
            lease,
            per_second,
            slowest,
            lost_requests,
            lost_replies,
            costly,
            bursts,
            faults,
            seed,
        }
    })
}

const END: u64 = 2000 * MILLI;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// 4.4: the cells that the store granted stay within the rate, also with delays, losses and crashes.
    /// Each loss of its state, and each forward step of its clock, adds a burst at most.
    #[test]
    fn granted_cells_stay_within_the_rate_whatever_fails(plan in plans(), shares: bool) {
        let mut fleet = plan.fleet();
        fleet.shares = shares;
        fleet.run();
        let over = fleet.over(plan.rate, |spent| !spent.is_share);
        let rules = plan.rules();
        let mut allowed = plan.extra() * u64::from(rules.rates()[0].burst());
        if rules.kind() == LeaseKind::Exact || plan.costs_more_than(rules.max_held()) {
            // Calls that the store decides alone: the trip bunches them by the cells of its time.
            allowed += nanos(rules.reply_time()).div_ceil(nanos(plan.rate.interval()));
        }
        prop_assert!(over <= allowed, "{over} cells over, {allowed} allowed");
    }

    /// L3, L8: each replica's share stays within its part of the rate, from each failure on.
    #[test]
    fn shares_stay_within_their_part_of_the_rate(mut plan in plans()) {
        plan.faults.clear();
        let mut fleet = plan.fleet();
        fleet.shares = true;
        fleet.at(300 * MILLI, Event::Reachable(false));
        fleet.at(1600 * MILLI, Event::Reachable(true));
        fleet.run();
        let outage = fleet.cells(300 * MILLI, 1600 * MILLI);
        let rules = plan.rules();
        let leased = rules.rates()[0];
        let came = u64::from(plan.rate.count()) * 1300 / 1000 + 1;
        let replicas = u64::from(rules.replicas());
        let at_once = replicas * u64::from(rules.max_held());
        let in_time = nanos(rules.lease_time()).div_ceil(nanos(plan.rate.interval()));
        // Held at the start of the outage, of what a lease brings and of the burst before.
        let held = at_once.min(u64::from(leased.burst()) + in_time);
        // The shares together have the burst, and one cell each where the burst is smaller.
        let burst = u64::from(plan.rate.burst_size()).max(replicas);
        prop_assert!(outage <= came + burst + held, "{outage} cells in the outage");
    }

    /// L6: once all replicas are back, the store knows of every cell that a share admitted.
    #[test]
    fn every_cell_of_a_share_becomes_a_debt_of_the_store(mut plan in plans()) {
        plan.faults.clear();
        plan.lost_replies = 0.0;
        let mut fleet = plan.fleet();
        fleet.shares = true;
        fleet.at(300 * MILLI, Event::Reachable(false));
        fleet.at(900 * MILLI, Event::Reachable(true));
        for replica in 0..plan.replicas {
            for round in 0..200 {
                fleet.at(END + round * 130 * MILLI, Event::Call { replica, cost: 1 });
            }
        }
        fleet.run();
        let shares = fleet.spent.iter().filter(|spent| spent.is_share);
        let shared: u64 = shares.map(|spent| u64::from(spent.cells)).sum();
        let owed: u64 = fleet.replicas.iter().map(|replica| replica.lease.debt()).sum();
        prop_assert!(fleet.store.debt + owed >= shared, "{} + {owed} of {shared}", fleet.store.debt);
    }
}

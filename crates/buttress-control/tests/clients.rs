//! Several clients of one service, each with a limit of its own: the law that is recommended to clients.
// Miri would need hours, and there is nothing in it for Miri.
#![cfg(not(any(buttress_loom, miri)))]

mod limited;

use std::time::Duration;

use buttress_control::{Adapt, Trend};
use buttress_testkit::{Queueing, Times};

use limited::learn;

const S: Duration = Duration::from_secs(1);
const SERVERS: u32 = 100;

/// Clients that start one after the other and call a service of a hundred servers twice as often as it can
/// answer.
struct Clients {
    laws: Vec<Trend>,
    service: Queueing,
}

/// What the calls of a while have seen.
struct Seen {
    /// The median of the sum of all limits.
    limits: u32,
    /// The median time of calls.
    rtt: Duration,
    answered: usize,
}

impl Clients {
    fn new(seed: u64, service: Times) -> Self {
        Self { laws: Vec::new(), service: Queueing::new(seed, SERVERS, service) }
    }

    fn start(&mut self, of: u32) {
        let law = Trend::default();
        let gap = S * of / SERVERS / 2;
        // Client 0 of the service never calls.
        let client = self.service.add_client(gap, law.limit());
        self.laws.push(law);
        assert_eq!(client, self.laws.len());
    }

    fn run(&mut self, times: u32) -> Seen {
        let (mut limits, mut rtts) = (Vec::new(), Vec::new());
        for _ in 0..times / 10 {
            let laws = &mut self.laws;
            self.service.run(S * 10, |call| {
                rtts.push(call.rtt);
                let Some(law) = laws.get_mut(call.client - 1) else { return 0 };
                learn(law, call)
            });
            limits.push(laws.iter().map(Adapt::limit).sum());
        }
        Seen { limits: median(&mut limits), rtt: median(&mut rtts), answered: rtts.len() }
    }
}

fn median<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// So many clients keep the servers busy and hold the sum of their limits between once and three times the
/// servers.
fn hold(seed: u64, clients: u32, service: Times, thousands: u32) {
    hold_below(3 * SERVERS, seed, clients, service, thousands);
}

fn hold_below(most: u32, seed: u64, clients: u32, service: Times, thousands: u32) {
    let mut all = Clients::new(seed, service);
    for _ in 0..clients {
        all.start(clients);
        all.run(50);
    }
    // Alone, a client needs that long to come from its first limit to a hundred.
    all.run(1000);
    for thousand in 1..=thousands {
        let Seen { limits, rtt, answered } = all.run(1000);
        let at = format!("{clients} clients, seed {seed}, thousand {thousand}");
        assert!((SERVERS..=most).contains(&limits), "{at}: {limits} for {SERVERS} servers");
        assert!(rtt <= 3 * S, "{at}: half of the calls took more than {rtt:?}");
        assert!(answered >= 90 * 1000, "{at}: {answered} calls of 100,000 were answered");
    }
}

#[test]
fn ten_clients_that_start_one_by_one_hold_the_sum_for_ten_thousand_service_times() {
    hold(1, 10, Times::Exponential(S), 9);
}

#[test]
fn ten_clients_hold_the_sum_when_all_calls_take_the_same() {
    hold(2, 10, Times::Constant(S), 3);
}

#[test]
fn ten_clients_stop_the_climb_when_few_calls_take_most_of_the_time() {
    // The mean of a round errs by more, and so the clients find each other later.
    hold_below(4 * SERVERS, 3, 10, Times::LogNormal { mean: S, sigma: 1.0 }, 3);
}

#[test]
fn twenty_clients_hold_the_sum_below_five_times_the_servers() {
    let mut all = Clients::new(6, Times::Exponential(S));
    for _ in 0..20 {
        all.start(20);
        all.run(50);
    }
    for thousand in 1..=5 {
        let Seen { limits, .. } = all.run(1000);
        assert!(limits <= 5 * SERVERS, "thousand {thousand}: {limits} for {SERVERS} servers");
    }
}

#[test]
fn one_or_two_clients_use_all_servers() {
    for clients in [1, 2] {
        hold(4, clients, Times::Exponential(S), 2);
    }
}

#[test]
fn returning_client_finds_its_share() {
    let mut all = Clients::new(5, Times::Exponential(S));
    for _ in 0..5 {
        all.start(5);
    }
    all.run(1000);
    all.service.call_every(1, Duration::MAX);
    all.run(1000);
    all.service.call_every(1, S * 5 / SERVERS / 2);
    all.run(500);
    let Seen { limits, rtt, .. } = all.run(1000);
    assert!((SERVERS..=3 * SERVERS).contains(&limits), "{limits} for {SERVERS} servers");
    assert!(rtt <= 3 * S, "half of the calls took more than {rtt:?}");
    let first = all.laws.first().map(Adapt::limit).unwrap_or_default();
    assert!(first >= 5, "the limit of the first is {first}");
}

//! The simulated service, against the formulas of queueing theory.

use std::time::Duration;

use buttress_testkit::{Queueing, Times};

const MS: Duration = Duration::from_millis(1);

/// The mean time of a call in milliseconds, and the share of calls that were refused.
fn measured(queueing: Queueing, limit: u32) -> (f64, f64) {
    let mut total = 0.0;
    let tally = queueing.limit(limit).run(Duration::from_secs(4000), |call| {
        total += call.rtt.as_secs_f64() * 1e3;
        limit
    });
    let (answered, rejected) = (count(tally.answered), count(tally.rejected));
    (total / answered, rejected / (answered + rejected))
}

fn count(calls: u64) -> f64 {
    f64::from(u32::try_from(calls).unwrap_or(u32::MAX))
}

fn assert_near(measured: f64, expected: f64) {
    assert!((measured - expected).abs() < 0.02 * expected, "{measured} for {expected}");
}

#[test]
fn one_server_keeps_calls_as_long_as_theory_says() {
    // M/M/1 at a load of 0.5: a call takes the time of service over 1 − load.
    let markov = Queueing::new(1, 1, Times::Exponential(10 * MS)).every(20 * MS);
    assert_near(measured(markov, u32::MAX).0, 20.0);
    // M/D/1: half of the wait.
    let constant = Queueing::new(1, 1, Times::Constant(10 * MS)).every(20 * MS);
    assert_near(measured(constant, u32::MAX).0, 15.0);
}

#[test]
fn a_variable_time_of_service_waits_as_pollaczek_and_khinchine_say() {
    // M/G/1: the wait of M/D/1 times 1 + variance / mean², which is e^(σ²) here.
    let sigma = 0.8_f64;
    let times = Times::LogNormal { mean: 10 * MS, sigma };
    let queueing = Queueing::new(1, 1, times).every(20 * MS);
    assert_near(measured(queueing, u32::MAX).0, 10.0 + 5.0 * (sigma * sigma).exp());
}

#[test]
fn as_many_calls_are_refused_as_erlang_says() {
    // Erlang B for two servers at a load of 2: (2²/2) / (1 + 2 + 2²/2). No call waits.
    let queueing = Queueing::new(1, 2, Times::Exponential(10 * MS)).every(5 * MS);
    let (time, refused) = measured(queueing, 2);
    assert_near(refused, 0.4);
    assert_near(time, 10.0);
}

/// When calls started and what they took, in a service that loses and regains its servers.
fn log(seed: u64) -> Vec<(Duration, Duration, u32)> {
    let mut calls = Vec::new();
    let mut queueing = Queueing::new(seed, 4, Times::Exponential(10 * MS)).every(2 * MS).limit(8);
    for servers in [0, 2, 4] {
        queueing.resize(servers);
        queueing.run(Duration::from_secs(1), |call| {
            calls.push((call.started, call.rtt, call.in_flight));
            8
        });
    }
    calls
}

#[test]
fn a_seed_gives_the_same_calls_twice() {
    assert_eq!(log(7), log(7));
    assert_ne!(log(7), log(8));
}

#[test]
fn without_servers_calls_wait_and_then_go_on() {
    let mut queueing = Queueing::new(7, 0, Times::Constant(10 * MS)).every(MS).limit(3);
    let tally = queueing.run(Duration::from_secs(1), |_| 3);
    assert_eq!(tally.answered, 0);
    assert!(tally.rejected > 900);
    queueing.resize(1);
    let mut times = Vec::new();
    queueing.run(30 * MS, |call| {
        times.push(call.started + call.rtt);
        0
    });
    let since = Duration::from_secs(1);
    assert_eq!(times, [since + 10 * MS, since + 20 * MS, since + 30 * MS]);
    assert_eq!(queueing.now(), since + 30 * MS);
}

#[test]
fn odd_times_hang_nothing() {
    let nobody = Queueing::new(7, 1, Times::Constant(MS)).run(Duration::MAX, |_| 1);
    assert_eq!(nobody.answered, 0);
    assert_eq!(nobody.rejected, 0);
    let mut busy = Queueing::new(7, 1, Times::LogNormal { mean: MS, sigma: f64::NAN });
    busy = busy.every(Duration::ZERO).limit(0);
    assert!(busy.run(Duration::from_micros(1), |_| 0).rejected > 0);
}

#[test]
fn each_client_has_a_limit_of_its_own() {
    let mut queueing = Queueing::new(1, 2, Times::Constant(10 * MS)).every(MS).limit(1);
    assert_eq!(queueing.add_client(MS, 3), 1);
    let mut most = [0, 0];
    queueing.run(Duration::from_secs(10), |call| {
        most[call.client] = most[call.client].max(call.in_flight);
        [1, 3][call.client]
    });
    assert_eq!(most, [1, 3]);
}

#[test]
fn a_client_that_is_silenced_calls_no_more() {
    let mut queueing = Queueing::new(1, 2, Times::Constant(MS)).every(MS).limit(9);
    let second = queueing.add_client(MS, 9);
    queueing.call_every(0, Duration::MAX);
    let tally = queueing.run(Duration::from_secs(10), |call| {
        assert_eq!(call.client, second);
        9
    });
    assert!(tally.answered > 9000, "{tally:?}");
}

#[test]
fn a_service_that_becomes_slower_is_so_for_the_calls_that_come_then() {
    let mut queueing = Queueing::new(1, 9, Times::Constant(MS)).every(10 * MS);
    let mut last = Duration::ZERO;
    for millis in [1, 3, 2] {
        queueing.service_time(Times::Constant(millis * MS));
        queueing.run(Duration::from_secs(1), |call| {
            last = call.rtt;
            u32::MAX
        });
        assert_eq!(last, millis * MS);
    }
}

//! Client-side throttling: the published values, the window, and the requests that count.
#![cfg(not(buttress_loom))]
#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::time::Duration;

use buttress_control::{AcceptRatio, Nanos, Ratio, RequestEnd, SentRequest};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
/// A draw that only a probability of 1 would reject.
const LUCKY: f64 = 0.999_999;

fn at(millis: u64) -> Nanos {
    Nanos::from(Duration::from_millis(millis))
}

fn count(throttle: &AcceptRatio, millis: u64, requests: u32, accepts: u32) {
    (0..requests).for_each(|_| assert!(throttle.attempt(at(millis), LUCKY)));
    (0..accepts).for_each(|_| throttle.accept(at(millis)));
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() < 5e-6
}

/// Values of the formula in the SRE book, chapter "Handling Overload".
#[test]
fn rejection_probability_matches_the_sre_book() {
    let vectors =
        [(100, 50, 0.0), (100, 40, 0.19802), (100, 0, 0.99010), (10, 1, 0.72727), (0, 0, 0.0)];
    for (requests, accepts, rejection) in vectors {
        let throttle = AcceptRatio::new().max_rejection(Ratio::percent(100));
        count(&throttle, 0, requests, accepts);
        let found = throttle.rejection_probability(at(0));
        assert!(near(found, rejection), "{requests} and {accepts}: {found}");
    }
}

#[test]
fn draw_below_the_probability_is_rejected() {
    let throttle = AcceptRatio::new();
    count(&throttle, 0, 99, 25);
    assert!(near(throttle.rejection_probability(at(0)), 0.49));
    assert!(throttle.attempt(at(0), 0.49 + 1e-9));
    assert!(!throttle.attempt(at(0), 0.49));
}

#[test]
fn min_requests_admits_all_requests_at_first() {
    let throttle = AcceptRatio::new().min_requests(20);
    assert!(throttle.is_fresh(at(0)));
    assert!((0..20).all(|_| throttle.attempt(at(0), 0.0)));
    assert!(!throttle.attempt(at(0), 0.0));
    assert!(!throttle.is_fresh(at(0)) && throttle.is_fresh(at(200_000)));
    assert!(throttle.fresh().attempt(at(0), 0.0));
}

#[test]
fn cap_leaves_a_tenth_of_the_requests() {
    let throttle = AcceptRatio::new();
    count(&throttle, 0, 1000, 0);
    assert!(near(throttle.rejection_probability(at(0)), 0.9));
    assert!(throttle.attempt(at(0), 0.9) && !throttle.attempt(at(0), 0.899));
}

#[test]
fn hanging_service_is_shed_before_its_first_answer() {
    let throttle = AcceptRatio::new();
    (0..50).for_each(|second| count(&throttle, second * 1000, 10, 10));
    let sent = (0..1000).filter(|milli| throttle.attempt(at(50_000 + milli), 0.3)).count();
    // Up to 1429 requests for 500 accepts the probability is at most 0.3.
    assert_eq!(sent, 930);
    assert!(throttle.rejection_probability(at(51_000)) > 0.3);
}

#[test]
fn rejected_request_counts_as_a_request() {
    let throttle = AcceptRatio::new();
    count(&throttle, 0, 10, 1);
    let before = throttle.rejection_probability(at(0));
    assert!(!throttle.attempt(at(0), 0.0));
    assert!(throttle.rejection_probability(at(0)) > before);
}

/// Requests that are sent at once and not answered yet.
fn send(throttle: &AcceptRatio, millis: u64, requests: u32) -> Vec<SentRequest> {
    (0..requests).map(|_| throttle.send(at(millis), LUCKY).unwrap()).collect()
}

fn end(
    throttle: &AcceptRatio,
    millis: u64,
    sent: impl IntoIterator<Item = SentRequest>,
    how: RequestEnd,
) {
    sent.into_iter().for_each(|sent| throttle.end(at(millis), sent, how));
}

#[test]
fn request_in_flight_counts_once_late() {
    let throttle = AcceptRatio::new().max_rejection(Ratio::percent(100));
    let out = send(&throttle, 0, 100);
    assert!(throttle.rejection_probability(at(499)) <= 0.0);
    assert!(throttle.rejection_probability(at(563)) > 0.9, "twice 250 ms and an eighth");
    end(&throttle, 600, out, RequestEnd::Accepted);
    assert!(throttle.rejection_probability(at(600)) <= 0.0);
}

#[test]
fn ended_requests_give_the_same_probability() {
    for (requests, accepts, rejection) in [(100, 50, 0.0), (100, 40, 0.19802), (10, 1, 0.72727)] {
        let throttle = AcceptRatio::new();
        let mut out = send(&throttle, 0, requests);
        end(&throttle, 1, out.drain(..accepts), RequestEnd::Accepted);
        end(&throttle, 1, out, RequestEnd::Failed);
        let found = throttle.rejection_probability(at(1));
        assert!(near(found, rejection), "{requests} and {accepts}: {found}");
    }
}

#[test]
fn abandoned_request_counts_when_late_and_a_void_request_never() {
    let throttle = AcceptRatio::new().initial_latency(Duration::from_millis(100));
    let out = send(&throttle, 0, 2);
    end(&throttle, 199, out, RequestEnd::GivenUp);
    assert!(throttle.rejection_probability(at(1000)) <= 0.0);
    assert!(throttle.is_fresh(at(1000)));
    let out = send(&throttle, 1000, 2);
    end(&throttle, 1200, out, RequestEnd::Void);
    assert!(throttle.is_fresh(at(1200)));
    let out = send(&throttle, 2000, 2);
    end(&throttle, 2200, out, RequestEnd::GivenUp);
    assert!(near(throttle.rejection_probability(at(2200)), 2.0 / 3.0));
}

#[test]
fn call_is_late_after_twice_the_usual_latency() {
    for latency in [10, 100, 1000, 5000] {
        let throttle = AcceptRatio::new();
        for n in 0..300 {
            end(
                &throttle,
                latency * (n + 1),
                send(&throttle, latency * n, 1),
                RequestEnd::Accepted,
            );
        }
        let made = 302 * latency;
        let _out = send(&throttle, made, 1000);
        assert!(throttle.rejection_probability(at(made + 2 * latency - 1)) <= 0.0, "{latency} ms");
        assert!(
            throttle.rejection_probability(at(made + 2 * latency + latency / 4 + 1)) > 0.1,
            "{latency} ms"
        );
    }
}

#[test]
fn growing_queue_of_an_answering_service_rejects_no_call() {
    let throttle = AcceptRatio::new();
    for n in 0..100 {
        end(&throttle, 10 * (n + 1), send(&throttle, 10 * n, 1), RequestEnd::Accepted);
    }
    // A thousand at once, of which one is answered each millisecond.
    let start = 2000;
    for (n, sent) in (1..).zip(send(&throttle, start, 1000)) {
        end(&throttle, start + n, [sent], RequestEnd::Accepted);
        assert!(throttle.rejection_probability(at(start + n)) <= 0.0, "{n} ms");
    }
}

#[test]
fn no_request_is_rejected_above_half_accepted() {
    let throttle = AcceptRatio::new().window(SECOND);
    for millis in 0..10_000 {
        assert!(throttle.attempt(at(millis), 0.0));
        if millis % 5 < 3 {
            throttle.accept(at(millis));
        }
    }
}

#[test]
fn forgotten_request_counts_as_never_made() {
    let throttle = AcceptRatio::new();
    count(&throttle, 0, 10, 1);
    count(&throttle, 60_000, 1, 0);
    (0..9).for_each(|_| throttle.forget(at(60_000)));
    assert!(throttle.rejection_probability(at(60_000)) <= 0.0, "2 requests for 1 accept");
    assert!(throttle.attempt(at(60_000), 0.0));
    assert!(near(throttle.rejection_probability(at(60_000)), 0.25), "3 for 1");
    (0..100).for_each(|_| throttle.forget(at(60_000)));
    assert!(throttle.attempt(at(60_000), 0.0));
    assert!(throttle.rejection_probability(at(60_000)) <= 0.0, "no debt is left");
}

#[test]
fn requests_and_accepts_count_for_the_window_and_at_most_a_thirtieth_longer() {
    for start in (0..3000).step_by(7) {
        let throttle = AcceptRatio::new().window(SECOND);
        count(&throttle, start, 10, 1);
        let before = throttle.rejection_probability(at(start));
        assert!(near(throttle.rejection_probability(at(start + 1000)), before));
        assert!(throttle.rejection_probability(at(start + 1034)) <= 0.0);
    }
}

#[test]
fn window_is_empty_after_any_rest() {
    for rest in [1034, 64 * 34, 1_000_000_007, u64::MAX / 1_000_000] {
        let throttle = AcceptRatio::new().window(SECOND);
        count(&throttle, 0, 100, 0);
        assert!(throttle.attempt(at(rest), 0.0));
    }
}

#[test]
fn earlier_time_counts_as_the_latest() {
    let throttle = AcceptRatio::new().window(SECOND);
    count(&throttle, 100_000, 1, 0);
    count(&throttle, 0, 9, 1);
    assert!(near(throttle.rejection_probability(at(100_000)), 8.0 / 11.0));
    assert!(near(throttle.rejection_probability(at(0)), 8.0 / 11.0));
}

#[test]
fn fresh_law_keeps_the_options_and_no_counts() {
    let throttle = AcceptRatio::new().multiplier(Ratio::of(1.5)).max_rejection(Ratio::percent(50));
    count(&throttle, 0, 100, 0);
    let fresh = throttle.fresh();
    assert!(fresh.rejection_probability(at(0)) <= 0.0);
    count(&fresh, 0, 9, 4);
    assert!(near(fresh.rejection_probability(at(0)), 0.3));
    count(&fresh, 0, 100, 0);
    assert!(near(fresh.rejection_probability(at(0)), 0.5));
}

#[test]
fn extreme_options_have_a_meaning() {
    let least = AcceptRatio::new().multiplier(Ratio::ZERO).window(Duration::ZERO);
    count(&least, 0, 10, 10);
    assert!(least.rejection_probability(at(0)) <= 0.0, "a multiplier of 1");
    count(&least, 0, 1, 0);
    assert!(least.rejection_probability(at(20)) > 0.0, "a window of 20 ms");

    let most =
        AcceptRatio::new().multiplier(Ratio::MAX).window(Duration::MAX).max_rejection(Ratio::MAX);
    count(&most, 0, 1000, 1);
    assert!(most.rejection_probability(Nanos::new(u64::MAX)) <= 0.0);
    let blind = AcceptRatio::new().max_rejection(Ratio::ZERO);
    count(&blind, 0, 1000, 0);
    assert!(blind.attempt(at(0), 0.0));
    let failing = AcceptRatio::new();
    count(&failing, 0, 10, 0);
    assert!(!failing.attempt(at(0), f64::NAN) && !failing.attempt(at(0), f64::NEG_INFINITY));
    assert!(failing.attempt(at(0), f64::INFINITY));
}

#[test]
fn concurrent_requests_all_count() {
    let throttle = AcceptRatio::new().max_rejection(Ratio::percent(100));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| count(&throttle, 0, 1000, 400));
        }
    });
    assert!(near(throttle.rejection_probability(at(0)), 800.0 / 4001.0));
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Attempt,
    Accept,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![0..40_u64, 0..1500_u64].prop_map(Step::Wait);
    let step = prop_oneof![
        3 => wait, 6 => Just(Step::Attempt), 2 => Just(Step::Accept), 1 => Just(Step::Forget)
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #[test]
    fn probability_equals_that_of_a_list_of_all_requests(steps in steps()) {
        let throttle = AcceptRatio::new().window(Duration::from_millis(31)).max_rejection(Ratio::percent(100));
        // A step of this window is a millisecond: a thing counts in its own and the 31 after it.
        let (mut requests, mut accepts, mut clock) = (Vec::new(), Vec::new(), 1_u64);
        for step in steps {
            let now = Nanos::new(clock * 1_000_000 + 500_000);
            requests.retain(|made| made + 32 > clock);
            accepts.retain(|made| made + 32 > clock);
            match step {
                Step::Wait(millis) => clock += millis,
                Step::Attempt => {
                    throttle.attempt(now, 0.5);
                    requests.push(clock);
                }
                Step::Accept => {
                    throttle.accept(now);
                    accepts.push(clock);
                }
                Step::Forget => {
                    throttle.forget(now);
                    requests.pop();
                }
            }
            requests.retain(|made| made + 32 > clock);
            accepts.retain(|made| made + 32 > clock);
            let count = |list: &Vec<u64>| f64::from(u32::try_from(list.len()).unwrap_or(u32::MAX));
            let (made, accepted) = (count(&requests), count(&accepts));
            let expected = ((made - 2.0 * accepted) / (made + 1.0)).max(0.0);
            let found = throttle.rejection_probability(Nanos::new(clock * 1_000_000 + 500_000));
            prop_assert!(near(found, expected), "{} for {}", found, expected);
        }
    }
}

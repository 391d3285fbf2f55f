//! The simulation kit: the same seed gives the same log, weather is a function, and loads are counted.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use buttress_core::{Signals, WallClock};
use buttress_testkit::{
    Clause, Condition, Load, LoadReport, Probe, Upstream, Weather, WeatherLayer,
    assert_reproducible, contract, simulate, sweep,
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The message of a panic.
fn panic_of<T>(run: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else { return "no panic".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

async fn random_events() {
    for _ in 0..100 {
        sleep(ms(fastrand::u64(1..1000))).await;
        tracing::debug!(name: "drawn", target: "buttress_test", number = fastrand::u32(..));
        tracing::debug!(target: "other", "not of a layer");
    }
}

#[test]
fn same_seed_gives_the_same_log_and_another_seed_another_log() {
    assert_reproducible(0..20, async |_| random_events().await);
    let ((), first) = simulate(7, random_events);
    let ((), second) = simulate(8, random_events);
    assert_eq!(first.as_str().lines().count(), 100);
    assert_eq!((first.seed(), first.to_string()), (7, first.as_str().to_owned()));
    assert!(first.first_difference(&second).is_some_and(|difference| difference.line == 1));
}

#[test]
fn difference_of_two_logs_names_the_seed_and_the_first_line() {
    let runs = RefCell::new(0);
    let message = panic_of(|| {
        assert_reproducible([13], async |_| {
            *runs.borrow_mut() += 1;
            tracing::info!(name: "began", target: "buttress", "same");
            tracing::info!(name: "ran", target: "buttress", run = *runs.borrow());
        });
    });
    let expected = "two runs with seed 13 differ in line 2:\n  0.000ms INFO ran run=1\n  0.000ms INFO ran run=2";
    assert_eq!(message, expected);
}

#[test]
fn log_that_ends_early_differs_in_its_first_missing_line() {
    let log = |events| {
        simulate(7, async || (0..events).for_each(|n| tracing::info!(target: "buttress", n))).1
    };
    let (two, three) = (log(2), log(3));
    let difference = two.first_difference(&three).unwrap();
    assert_eq!((difference.line, difference.left, difference.right.is_some()), (3, None, true));
    two.assert_same(&log(2));
}

#[tokio::test]
async fn simulation_in_a_runtime_panics_and_says_so() {
    let message = panic_of(|| simulate(7, async || ()));
    assert!(message.contains("call `simulate` from a `#[test]`"), "{message}");
}

#[test]
fn simulation_that_waits_for_nothing_ends_after_a_year_of_virtual_time() {
    let message = panic_of(|| simulate(7, std::future::pending::<()>));
    assert!(message.contains("waits for something that never comes"), "{message}");
}

#[test]
fn simulation_restores_the_generator_and_the_wall_clock_of_its_thread() {
    fastrand::seed(99);
    let expected = fastrand::u64(..);
    fastrand::seed(99);
    let ((), _) = simulate(7, random_events);
    assert_eq!(fastrand::u64(..), expected);
    panic_of(|| simulate(7, async || panic!("a test")));
    assert!(WallClock::now() > SystemTime::UNIX_EPOCH + s(1_700_000_000));
}

#[test]
fn wall_clock_starts_in_2000_and_moves_with_virtual_time() {
    let (dates, _) = simulate(7, async || {
        let start = WallClock::now();
        sleep(s(3600)).await;
        (start, WallClock::now())
    });
    let start = SystemTime::UNIX_EPOCH + s(946_684_800);
    assert_eq!(dates, (start, start + s(3600)));
}

fn shares(weather: &Weather) -> [usize; 4] {
    let conditions: Vec<_> = (0..10_000_u64).map(|number| weather.at(&number, s(1))).collect();
    let count = |is: fn(&Condition) -> bool| conditions.iter().filter(|one| is(one)).count();
    [
        count(|condition| matches!(condition, Condition::Clear(_))),
        count(|condition| matches!(condition, Condition::Fault(_))),
        count(|condition| matches!(condition, Condition::Hang)),
        count(|condition| matches!(condition, Condition::Throttled { .. })),
    ]
}

#[test]
fn shares_of_the_weather_are_as_stated() {
    let weather = Weather::seeded(7).faults(0.2).hangs(0.1).throttles(0.3, s(1));
    let [clear, faults, hangs, throttled] = shares(&weather);
    // Five standard deviations are 245 at the most.
    for (count, expected) in [(clear, 4000), (faults, 2000), (hangs, 1000), (throttled, 3000)] {
        assert!(count.abs_diff(expected) < 245, "{count} of {expected}");
    }
}

#[test]
fn shares_out_of_range_are_clamped_and_nan_is_zero() {
    let weather = Weather::seeded(7);
    assert_eq!(shares(&weather.clone().faults(f64::NAN).hangs(-1.0)), [10_000, 0, 0, 0]);
    assert_eq!(shares(&weather.clone().faults(f64::INFINITY)), [0, 10_000, 0, 0]);
    assert_eq!(shares(&weather.clone().faults(1.0).hangs(7.0)), [0, 0, 10_000, 0]);
    assert_eq!(
        shares(&weather.throttles(2.0, s(1)).slow_tail(f64::NAN, f64::NAN)),
        [0, 0, 0, 10_000]
    );
}

#[test]
fn weather_is_a_function_of_seed_key_and_instant() {
    let weather = Weather::seeded(7).latency(ms(5), ms(200)).faults(0.2);
    let at = |weather: &Weather, key: &str, time| weather.at(key, ms(time));
    let expected: Vec<_> = (0..100).map(|time| at(&weather, "a", time)).collect();
    let mixed: Vec<_> = (0..100)
        .map(|time| {
            let _other_caller = at(&weather, "b", time);
            at(&weather, "a", time)
        })
        .collect();
    assert_eq!(mixed, expected);
    let differ =
        |other: Vec<Condition>| other.iter().zip(&expected).filter(|(a, b)| a != b).count();
    assert!(differ((0..100).map(|time| at(&weather, "b", time)).collect()) > 90);
    assert!(differ((100..200).map(|time| at(&weather, "a", time)).collect()) > 90);
    let other = Weather::seeded(8).latency(ms(5), ms(200)).faults(0.2);
    assert!(differ((0..100).map(|time| at(&other, "a", time)).collect()) > 90);
}

/// These values hold on every machine and in every version. A change of them changes all simulations.
#[test]
fn weather_of_a_seed_never_changes() {
    let weather = Weather::seeded(7).latency(ms(5), ms(200)).faults(0.2);
    let first: Vec<_> = (0..4_u32).map(|key| weather.at(&("key", key), s(1))).collect();
    let (fault, clear) = (Condition::Fault, Condition::Clear);
    let micros = Duration::from_micros;
    assert_eq!(
        first,
        [
            fault(micros(132_764)),
            clear(micros(24_932)),
            fault(micros(93_270)),
            clear(micros(7_665))
        ]
    );
}

fn latencies(weather: &Weather, since: Duration) -> Vec<Duration> {
    let mut all: Vec<_> =
        (0..10_000_u64).filter_map(|key| weather.at(&key, since).latency()).collect();
    all.sort_unstable();
    all
}

#[test]
fn latency_is_uniform_or_lognormal_as_stated() {
    let uniform = latencies(&Weather::seeded(7).latency(ms(10), ms(110)), s(1));
    assert!(uniform[0] >= ms(10) && uniform[9_999] <= ms(110));
    assert!(uniform[5_000].abs_diff(ms(60)) < ms(3), "{:?}", uniform[5_000]);
    let lognormal = latencies(&Weather::seeded(7).lognormal(ms(40), ms(72)), s(1));
    assert!(lognormal[5_000].abs_diff(ms(40)) < ms(1), "{:?}", lognormal[5_000]);
    assert!(lognormal[9_900].abs_diff(ms(72)) < ms(3), "{:?}", lognormal[9_900]);
}

#[test]
fn odd_latencies_have_a_meaning() {
    let weather = Weather::seeded(7);
    assert_eq!(latencies(&weather.clone().latency(ms(10), ms(5)), s(1))[9_999], ms(10));
    assert_eq!(latencies(&weather.clone().lognormal(ms(10), ms(5)), s(1))[9_999], ms(10));
    assert_eq!(latencies(&weather.clone().lognormal(ms(0), ms(5)), s(1))[9_999], ms(0));
    let slow = weather.clone().latency(ms(10), ms(10)).slow_tail(1.0, f64::NAN);
    assert_eq!(latencies(&slow, s(1))[9_999], ms(10));
    let never = weather.latency(Duration::MAX, Duration::MAX).slow_tail(1.0, f64::INFINITY);
    assert!(latencies(&never, s(1))[0] > s(1_000_000_000));
}

#[test]
fn slow_tail_is_a_share_of_the_calls_and_apart_from_those_that_fail() {
    let weather = Weather::seeded(7).latency(ms(10), ms(10)).faults(0.5).slow_tail(0.1, 10.0);
    let conditions: Vec<_> = (0..10_000_u64).map(|key| weather.at(&key, s(1))).collect();
    let slow =
        conditions.iter().filter(|condition| **condition == Condition::Clear(ms(100))).count();
    assert!(slow.abs_diff(1_000) < 150, "{slow}");
    assert!(!conditions.contains(&Condition::Fault(ms(100))));
}

#[test]
fn spells_include_their_start_and_exclude_their_end() {
    let weather = Weather::seeded(7)
        .latency(ms(10), ms(10))
        .outage(s(3), s(6))
        .outage(s(9), s(10))
        .silence(s(12), s(13))
        .brownout(s(20), s(22), 3.0)
        .brownout(s(21), s(23), 2.0)
        .brownout(s(30), s(31), f64::NAN);
    let at = |time| weather.at(&1, ms(time));
    let (clear, refused) = (|time| Condition::Clear(ms(time)), Condition::Fault(ms(0)));
    assert_eq!(
        [at(2_999), at(3_000), at(5_999), at(6_000)],
        [clear(10), refused, refused, clear(10)]
    );
    assert_eq!([at(9_500), at(12_000), at(13_000)], [refused, Condition::Hang, clear(10)]);
    assert_eq!([at(20_500), at(21_500), at(22_500)], [clear(30), clear(60), clear(20)]);
    assert_eq!(at(30_500), clear(10));
}

#[test]
fn shares_are_exact_in_each_block_of_numbered_calls() {
    let weather =
        Weather::seeded(7).faults(0.2).hangs(0.025).slow_tail(0.05, 9.0).latency(ms(1), ms(1));
    let blocks = weather.clone().blocks_of(40);
    let mut orders = Vec::new();
    for block in 0..100 {
        let conditions: Vec<_> =
            (0..40).map(|place| blocks.numbered(40 * block + place, s(1))).collect();
        let count = |condition| conditions.iter().filter(|other| **other == condition).count();
        assert_eq!(
            [
                Condition::Fault(ms(1)),
                Condition::Hang,
                Condition::Clear(ms(9)),
                Condition::Clear(ms(1))
            ]
            .map(count),
            [8, 1, 2, 29]
        );
        orders.push(conditions);
    }
    assert_ne!(orders[0], orders[1]);
    let faults =
        (0..4000).filter(|n| weather.numbered(*n, s(1)) == Condition::Fault(ms(1))).count();
    assert!(faults != 800 && faults.abs_diff(800) < 130, "{faults}");
}

#[tokio::test(start_paused = true)]
async fn weather_layer_keeps_the_contract_under_a_weather_without_latency() {
    contract(|| WeatherLayer::without_faults(Weather::seeded(7), |n: &u32| *n)).await;
}

/// A latency delays an answer that is there, which is the broken half of [`Clause::Waking`].
#[tokio::test(start_paused = true)]
async fn weather_layer_with_a_latency_keeps_all_other_clauses_of_the_contract() {
    let weather = Weather::seeded(7).latency(ms(1), ms(9));
    contract(move || WeatherLayer::without_faults(weather.clone(), |n: &u32| *n))
        .without(Clause::Waking)
        .await;
}

#[tokio::test(start_paused = true)]
async fn weather_layer_leaves_nothing_behind_when_a_call_is_dropped() {
    let probe = Probe::new(|n: u32| Ok::<_, io::Error>(n)).permits(1).pausing(2);
    let weather = Weather::seeded(7).latency(ms(5), ms(5));
    let weather = WeatherLayer::new(weather, |n: &u32| *n, |_| Err(io::Error::other("down")));
    let stack = weather.layer(probe.clone());
    assert!(sweep(|| stack.clone().oneshot(1)).over(&probe).await > 4);
    let faulty = Weather::seeded(7).latency(ms(5), ms(5)).faults(1.0);
    let faulty = WeatherLayer::new(faulty, |n: &u32| *n, |_| Err(io::Error::other("down")));
    let stack = faulty.layer(probe.clone());
    assert!(sweep(|| stack.clone().oneshot(1)).over(&probe).await > 1);
}

async fn outcome(weather: Weather) -> (Option<Result<u32, Option<Duration>>>, Duration, usize) {
    let upstream = Upstream::new();
    let layer = WeatherLayer::new(weather, |n: &u32| *n, |fault| Err(fault.retry_after));
    let service = {
        let upstream = upstream.clone();
        layer.layer(service_fn(move |n: u32| {
            upstream.record();
            async move { Ok(n) }
        }))
    };
    let start = Instant::now();
    let outcome = tokio::time::timeout(s(60), service.oneshot(5)).await.ok();
    assert_eq!(layer.upstream().calls(), 1);
    (outcome, start.elapsed(), upstream.calls())
}

#[test]
fn weather_layer_delays_fails_refuses_and_hangs() {
    let weather = || Weather::seeded(7).latency(ms(40), ms(40));
    let run = |weather| simulate(7, async || outcome(weather).await).0;
    assert_eq!(run(weather()), (Some(Ok(5)), ms(40), 1));
    assert_eq!(run(weather().faults(1.0)), (Some(Err(None)), ms(40), 0));
    assert_eq!(run(weather().throttles(1.0, s(2))), (Some(Err(Some(s(2)))), ms(40), 0));
    assert_eq!(run(weather().hangs(1.0)), (None, s(60), 0));
    assert_eq!(run(weather().outage(s(0), s(1))), (Some(Err(None)), ms(0), 0));
}

#[test]
fn weather_begins_with_the_simulation_not_with_the_layer() {
    let (failed, _) = simulate(7, async || {
        sleep(s(10)).await;
        outcome(Weather::seeded(7).outage(s(10), s(11))).await
    });
    assert_eq!(failed, (Some(Err(None)), ms(0), 0));
}

/// A load on a service that takes `latency` and fails in the seconds 3 to 6.
fn run_load(shape: impl FnOnce(Load<()>) -> Load<()>, latency: Duration) -> LoadReport {
    let (report, _) = simulate(7, async || {
        let start = Instant::now();
        let upstream = Upstream::new();
        let seen = upstream.clone();
        let load = shape(Load::new(())).upstream(&upstream);
        load.call(move |(), _| {
            seen.record();
            async move {
                sleep(latency).await;
                if (s(3)..s(6)).contains(&start.elapsed().saturating_sub(latency)) {
                    Err(io::Error::other("down"))
                } else {
                    Ok(())
                }
            }
        })
        .await
    });
    report
}

#[test]
fn open_load_counts_each_second_by_the_start_of_its_calls() {
    let report = run_load(|load| load.every(ms(5)), ms(40));
    assert_eq!((report.offered(), report.served(), report.failed()), (2000, 1400, 600));
    assert_eq!((report.seed(), report.failures()["transient"]), (Some(7), 600));
    let seconds: Vec<_> = report.seconds().collect();
    assert_eq!(seconds.len(), 10);
    for second in &seconds {
        let is_down = (s(3)..s(6)).contains(&second.from);
        assert_eq!((second.offered, second.sent), (200, 200));
        assert_eq!(second.served, if is_down { 0 } else { 200 });
        assert_eq!(second.p99, if is_down { None } else { Some(ms(40)) });
    }
    assert_eq!(report.recovery(s(3)), Some(s(3)));
    assert_eq!(report.recovery(s(8)), None, "only two seconds are left");
    assert_eq!((report.amplification(), report.worst_amplification(s(2))), (1.0, 1.0));
    assert_eq!(report.between(s(3), s(6)).served(), 0);
    assert_eq!(
        (report.quantile(0.0), report.quantile(2.0), report.quantile(f64::NAN)),
        (Some(ms(40)), Some(ms(40)), Some(ms(40)))
    );
}

/// A call that is due in the last millisecond would begin at the end of the load.
#[test]
fn seconds_of_a_load_sum_to_the_offered_calls_whatever_the_gap() {
    for gap in [Duration::from_micros(700), Duration::from_micros(3_333)] {
        for length in [s(1), Duration::from_micros(10_500)] {
            for poisson in [false, true] {
                let shape =
                    |load: Load<()>| if poisson { load.poisson(gap) } else { load.every(gap) };
                let report = run_load(|load| shape(load).for_(length), ms(1));
                let seconds: usize = report.seconds().map(|second| second.offered).sum();
                assert_eq!(seconds, report.offered(), "{gap:?} for {length:?}");
            }
        }
    }
}

#[test]
fn poisson_load_has_the_stated_rate_and_depends_on_the_seed() {
    let load = |seed| run_load(|load| load.poisson(ms(2)).seed(seed).for_(s(4)), ms(1));
    let (first, again, other) = (load(1), load(1), load(2));
    // 2,000 calls; five standard deviations are 224.
    assert!(first.offered().abs_diff(2_000) < 224, "{first}");
    assert_eq!(first.to_string(), again.to_string());
    assert_ne!(first.to_string(), other.to_string());
}

#[test]
fn closed_callers_wait_for_their_response_and_think() {
    let report = run_load(|load| load.callers(10, ms(60)), ms(40));
    assert_eq!(report.offered(), 1000);
    let hasty = run_load(|load| load.callers(1, Duration::ZERO).for_(s(1)), Duration::ZERO);
    assert_eq!(hasty.offered(), 1000, "a caller thinks for at least 1 ms");
}

#[test]
fn impatient_callers_drop_their_calls() {
    let report = run_load(|load| load.patience(ms(20)), ms(40));
    assert_eq!((report.served(), report.abandoned(), report.offered()), (0, 1000, 1000));
}

#[test]
fn load_ends_whatever_the_service_does() {
    let report = run_load(|load| load.drain(s(5)), s(100_000));
    assert_eq!((report.offered(), report.unfinished()), (1000, 1000));
}

#[test]
fn panic_of_a_call_fails_the_test() {
    let message = panic_of(|| {
        simulate(7, async || {
            Load::new(())
                .call(|(), number| async move {
                    assert_ne!(number, 3, "boom");
                    Ok::<_, ()>(())
                })
                .await
        })
    });
    assert!(message.contains("boom"), "{message}");
}

#[test]
fn calls_of_a_load_are_dropped_with_the_load() {
    let (live, _) = simulate(7, async || {
        let held = Rc::new(());
        let counted = Rc::clone(&held);
        let load = Load::new(counted).call(|held, _| async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, ()>(())
        });
        assert!(tokio::time::timeout(s(2), load.into_future()).await.is_err());
        Rc::strong_count(&held)
    });
    assert_eq!(live, 1);
}

#[test]
fn assertions_hold_or_name_the_seed_and_show_the_seconds() {
    let report = run_load(|load| load.every(ms(5)), ms(40));
    report.assert_amplification_within(1.0);
    report.assert_amplification_within_any(s(5), 1.0);
    report.assert_recovers(s(6), s(0));
    report.assert_goodput_at_least(0.7);
    report.assert_p99_within(ms(40));
    for (failing, words) in [
        (
            panic_of(|| report.assert_amplification_within(0.9)),
            "seed 7: the upstream saw 1.000 calls",
        ),
        (
            panic_of(|| report.assert_recovers(s(3), s(2))),
            "seed 7: full service begins 3s after 3s, not within 2s",
        ),
        (
            panic_of(|| report.assert_recovers(s(9), s(2))),
            "seed 7: full service begins never after 9s",
        ),
        (
            panic_of(|| report.assert_goodput_at_least(0.71)),
            "seed 7: 0.700 of the calls were served",
        ),
        (
            panic_of(|| report.assert_p99_within(ms(39))),
            "seed 7: the 99th percentile is Some(40ms)",
        ),
    ] {
        assert!(failing.starts_with(words), "{failing}");
        assert!(failing.contains("\nsecond offered"), "{failing}");
    }
}

#[test]
fn amplification_without_an_upstream_never_passes() {
    let (report, _) = simulate(7, async || {
        let service =
            ServiceBuilder::new().service(service_fn(async |n: u64| Ok::<_, io::Error>(n)));
        Load::new(service).for_(s(1)).request(|n| n).await
    });
    let message = panic_of(|| report.assert_amplification_within(10.0));
    assert!(message.contains("because the load knows no upstream"), "{message}");
}

/// A retry that gave up, in the poll that returns its outcome.
#[test]
fn weather_layer_hands_on_the_signals_of_the_service_with_the_delayed_outcome() {
    let (signals, _) = simulate(7, async || {
        let weather = Weather::seeded(7).latency(ms(40), ms(40));
        let weather = WeatherLayer::without_faults(weather, |n: &u32| *n);
        let mut call = Box::pin(
            weather
                .layer(service_fn(async |n: u32| {
                    Signals::raise_gave_up();
                    Ok::<_, io::Error>(n)
                }))
                .oneshot(1),
        );
        let mut polls = Vec::new();
        std::future::poll_fn(|cx| {
            let (poll, signals) = Signals::watch(|| call.as_mut().poll(cx));
            polls.push(signals.is_empty());
            poll.map(drop)
        })
        .await;
        polls
    });
    assert_eq!(signals, [true, false]);
}

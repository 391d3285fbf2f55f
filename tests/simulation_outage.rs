//! CO-13 and CO-14: the ready-made client in an outage, through the simulation kit.

use std::time::Duration;

use buttress::{BoxError, client};
use buttress_testkit::{InjectedFault, Load, LoadReport, Weather, WeatherLayer, simulate};
use tower::{Layer, service_fn};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Calls `$stack` above the weather: `$gap` apart, for `$length`.
macro_rules! load {
    ($seed:expr, $weather:expr, $gap:expr, $length:expr, $stack:expr) => {
        simulate($seed, async || -> LoadReport {
            let weather = WeatherLayer::new($weather, |number: &u64| *number, down);
            let upstream = weather.upstream();
            let service = service_fn(async |number: u64| Ok::<_, BoxError>(number));
            let service = $stack.service(weather.layer(service));
            let load = Load::new(service).upstream(&upstream).every($gap).for_($length);
            load.request(|number| number).await
        })
        .0
    };
}

fn down(_: InjectedFault) -> Result<u64, BoxError> {
    Err("down".into())
}

fn healthy(seed: u64) -> Weather {
    Weather::seeded(seed).lognormal(ms(20), ms(60))
}

/// CO-13: 1000 calls a second, and an upstream that refuses all of them.
#[test]
fn dead_upstream_sees_the_calls_and_the_budget_of_retries_and_only_probes_of_an_open_circuit() {
    for seed in 0..3 {
        let dead = healthy(seed).outage(s(0), s(60));
        let retries = load!(seed, dead.clone(), ms(1), s(20), client().without_breaker());
        // 20 % of the calls, and the reserve of 10 retries a second, which is 1 %. A retry is paid when its wait
        // begins and sent later, so a window may see a few retries of another one.
        retries.assert_amplification_within_any(s(10), 1.22);
        assert!(retries.amplification() > 1.1, "retries are sent: {retries}");
        let circuit = load!(seed, dead, ms(1), s(20), client());
        circuit.assert_amplification_within_any(s(10), 0.1);
        // Five probes a time, and the first interval is half a second or longer.
        for second in circuit.seconds().skip(1) {
            assert!(second.sent <= 10, "seed {seed}: {circuit}");
        }
    }
}

/// CO-13: an upstream that never answers.
#[test]
fn silent_upstream_sees_no_more_than_the_concurrency_limit_every_attempt() {
    let silent = healthy(7).silence(s(0), s(60));
    let report = load!(7, silent, ms(2), s(20), client().without_breaker());
    report.assert_amplification_within_any(s(10), 1.21);
    assert_eq!(report.served(), 0);
}

/// CO-14: full service returns within 2 × (break + ramp) = 2 × (10 s + 3 s), without manual action.
#[test]
fn full_service_returns_after_an_outage_of_30_s_under_constant_load() {
    for seed in 0..5 {
        for outage in [healthy(seed).outage(s(5), s(35)), healthy(seed).silence(s(5), s(35))] {
            let report = load!(seed, outage, ms(20), s(65), client());
            report.between(s(0), s(5)).assert_goodput_at_least(1.0);
            report.assert_recovers(s(35), s(26));
        }
    }
}

/// CO-14, where callers give up after a second and a limit is all that is left: no metastable state.
#[test]
fn impatient_callers_get_full_service_after_an_outage() {
    for seed in 0..5 {
        let (report, _) = simulate(seed, async || {
            let weather = healthy(seed).silence(s(5), s(15));
            let weather = WeatherLayer::new(weather, |number: &u64| *number, down);
            let upstream = weather.upstream();
            let service = service_fn(async |number: u64| Ok::<_, BoxError>(number));
            let service = client().without_breaker().service(weather.layer(service));
            let load = Load::new(service).upstream(&upstream).poisson(ms(10)).patience(s(1));
            load.for_(s(25)).request(|number| number).await
        });
        assert!(report.between(s(5), s(15)).abandoned() > 900, "{report}");
        report.assert_recovers(s(15), s(1));
    }
}

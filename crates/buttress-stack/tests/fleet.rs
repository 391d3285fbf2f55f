//! Rates that replicas keep together, in a stack: settings, files and misfits.

use std::time::Duration;

use buttress_control::{Rate, Rates, Ratio};
use buttress_core::{BoxError, Reason, Rejection};
use buttress_stack::{
    ClientConfig, FleetConfig, Misfit, ServerConfig, ThrottleLayer, client, server,
};
use buttress_testkit::{FakeStore, Outage};
use buttress_throttle::{Fleet, WithoutStore};
use proptest::prelude::*;
use tower::{ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn rate(store: &FakeStore) -> ThrottleLayer<buttress_core::Plain, Limit> {
    ThrottleLayer::rate(Rate::per_second(100)).fleet(Fleet::new(store.clone(), 4))
}

type Limit =
    buttress_throttle::RateLimit<buttress_throttle::UnitCost, buttress_throttle::FleetCells>;

fn config(change: impl FnOnce(&mut FleetConfig)) -> ClientConfig {
    let mut config = ClientConfig::default();
    change(&mut config.rate.fleet);
    config
}

/// The settings of each misfit.
fn settings(misfits: &[Misfit]) -> Vec<Vec<&str>> {
    misfits.iter().map(|misfit| misfit.settings().collect()).collect()
}

#[test]
fn handle_shows_and_sets_the_options_of_the_fleet() {
    let store = FakeStore::new();
    let handle = client().throttle(rate(&store)).handle();
    let built = handle.config();
    assert_eq!(built.rate.calls, Some(100));
    assert_eq!(built.rate.fleet.replicas, Some(4));
    assert_eq!(built.rate.fleet.reserve, Some(Ratio::percent(20)));
    assert_eq!(built.rate.fleet.lease, Some(200 * MS));
    assert_eq!(built.rate.fleet.without_store, Some(WithoutStore::LocalShare));
    let wanted = config(|fleet| {
        fleet.replicas = Some(12);
        fleet.reserve = Some(Ratio::percent(50));
        fleet.lease = Some(400 * MS);
        fleet.without_store = Some(WithoutStore::FailClosed);
    });
    handle.apply(&wanted).unwrap();
    assert_eq!(handle.config().rate.fleet, wanted.rate.fleet);
    assert_eq!(handle.config().rate.calls, Some(100));
    handle.apply(&ClientConfig::default()).unwrap();
    assert_eq!(handle.config(), built, "a setting that is left out goes back");
}

#[test]
fn settings_reach_keyed_rates_and_several_rates() {
    let store = FakeStore::new();
    let keyed = rate(&store).keyed(|row: &u32| Some(*row));
    let rates = Rates::new(Rate::per_second(10)).and(Rate::per_hour(5_000));
    let several = ThrottleLayer::rates(rates).fleet(Fleet::new(store.clone(), 4));
    let handles = [
        client().throttle(keyed.clone()).handle(),
        client().throttle(several.clone()).handle(),
        client().throttle(several.keyed(|row: &u32| Some(*row))).handle(),
    ];
    let wanted = config(|fleet| fleet.replicas = Some(9));
    for handle in handles {
        handle.apply(&wanted).unwrap();
        assert_eq!(handle.config().rate.fleet.replicas, Some(9));
    }
    assert_eq!(keyed.handle().fleet_options().replicas, 9);
}

#[tokio::test(start_paused = true)]
async fn policy_that_is_applied_decides_the_next_call() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let server = server().throttle(rate(&store));
    let echo = service_fn(|row: u32| async move { Ok::<_, BoxError>(row) });
    let service = server.service(echo);
    assert_eq!(service.clone().oneshot(7).await.unwrap(), 7);
    let mut config = ServerConfig::default();
    config.rate.fleet.without_store = Some(WithoutStore::FailClosed);
    server.handle().apply(&config).unwrap();
    let error = service.oneshot(7).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Rejection>().unwrap().reason(), Reason::Overloaded);
}

#[test]
fn fleet_of_a_rate_without_a_store_is_refused_with_the_remedy() {
    let wanted = config(|fleet| fleet.replicas = Some(9));
    let local = client().throttle(ThrottleLayer::rate(Rate::per_second(100))).handle();
    let error = local.apply(&wanted).unwrap_err().to_string();
    assert!(error.starts_with("rate.fleet: "), "{error}");
    assert!(error.contains(".fleet(Fleet::new(store, replicas))"), "{error}");
    assert_eq!(local.config().rate.fleet, FleetConfig::default());
    // Without a rate, the whole section is unknown.
    let error = client().handle().apply(&wanted).unwrap_err().to_string();
    assert!(error.starts_with("rate: "), "{error}");
}

#[test]
fn several_rates_refuse_the_numbers_of_one_rate_and_take_a_queue() {
    let rates = || Rates::new(Rate::per_second(10)).and(Rate::per_hour(5_000));
    let handle = client().throttle(ThrottleLayer::rates(rates())).handle();
    let mut config = ClientConfig::default();
    config.rate.calls = Some(5);
    config.rate.burst = Some(5);
    let misfits = handle.apply(&config).unwrap_err();
    let misfits: Vec<_> = misfits.iter().cloned().collect();
    assert_eq!(settings(&misfits), [["rate.calls"], ["rate.burst"]]);
    let mut config = ClientConfig::default();
    config.rate.queue = Some(5);
    handle.apply(&config).unwrap();
    assert_eq!(handle.config().rate.queue, Some(5));
}

#[test]
fn fleet_of_fewer_than_two_replicas_is_a_misfit() {
    for replicas in [0, 1] {
        let fleet = Fleet::new(FakeStore::new(), replicas);
        let client = client().throttle(ThrottleLayer::rate(Rate::per_second(100)).fleet(fleet));
        assert_eq!(settings(&client.misfits()), [["rate.fleet.replicas"]]);
        let wanted = config(|fleet| fleet.replicas = Some(replicas));
        let misfits = client.handle().apply(&wanted).unwrap_err();
        assert!(misfits.to_string().starts_with("rate.fleet.replicas: "), "{misfits}");
        let cured = config(|fleet| fleet.replicas = Some(2));
        assert_eq!(client.configure(&cured).unwrap().misfits(), []);
    }
}

#[test]
fn lease_that_ends_before_the_store_replies_is_a_misfit() {
    let store = FakeStore::new();
    store.set_time_limit(50 * MS);
    let with = |fleet: Fleet| {
        client().throttle(ThrottleLayer::rate(Rate::per_second(1000)).fleet(fleet)).misfits()
    };
    let fleet = || Fleet::new(store.clone(), 4);
    assert_eq!(with(fleet()), [], "a quarter of 200 ms is no less than 50 ms");
    let misfits = with(fleet().lease(199 * MS));
    assert_eq!(settings(&misfits), [["rate.fleet.lease"]]);
    assert!(misfits[0].remedy().contains("Lengthen rate.fleet.lease to 200ms"), "{misfits:?}");
    assert_eq!(with(fleet().lease(199 * MS).exact()), [], "nothing is held ahead");
}

#[test]
fn exact_mode_under_a_fast_rate_is_a_misfit_that_names_the_cause() {
    let with = |rate: Rate, fleet: Fleet| {
        client().throttle(ThrottleLayer::rate(rate).fleet(fleet)).misfits()
    };
    let fleet = || Fleet::new(FakeStore::new(), 4);
    let fast = Rate::per_second(1001);
    let causes = [
        (fast, fleet().exact(), "rate.fleet"),
        (fast, fleet().lease(19 * MS), "rate.fleet.lease"),
        (fast, fleet().reserve(Ratio::ZERO), "rate.fleet.reserve"),
        (fast.burst(39), fleet(), "rate.fleet.reserve"),
    ];
    for (rate, fleet, cause) in causes {
        let misfits = with(rate, fleet);
        assert_eq!(settings(&misfits), [[cause, "rate.calls"]]);
        assert!(misfits[0].remedy().contains(cause), "{misfits:?}");
        assert!(misfits[0].remedy().ends_with('.'), "{misfits:?}");
    }
    assert_eq!(with(fast.burst(40), fleet()), [], "2 calls for each replica");
    assert_eq!(with(Rate::per_second(1000), fleet().exact()), []);
}

#[test]
fn exact_mode_is_found_in_several_rates_and_in_what_is_applied() {
    let rates = Rates::new(Rate::per_second(2_000)).and(Rate::per_hour(5_000));
    let fleet = Fleet::new(FakeStore::new(), 4);
    let several = client().throttle(ThrottleLayer::rates(rates).fleet(fleet.clone().exact()));
    assert_eq!(settings(&several.misfits()), [["rate.fleet", "rate.calls"]]);

    let one = client().throttle(ThrottleLayer::rate(Rate::per_second(2_000)).fleet(fleet));
    let exact = config(|fleet| fleet.lease = Some(10 * MS));
    let misfits = one.handle().apply(&exact).unwrap_err();
    assert!(misfits.to_string().starts_with("rate.fleet.lease, rate.calls: "), "{misfits}");
    let mut slow = exact;
    slow.rate.calls = Some(500);
    one.handle().apply(&slow).unwrap();
}

#[test]
fn shares_and_times_beyond_their_range_are_misfits() {
    let handle = client().throttle(rate(&FakeStore::new())).handle();
    let wanted = config(|fleet| {
        fleet.reserve = Some(Ratio::percent(101));
        fleet.lease = Some(3601 * SECOND);
    });
    let misfits: Vec<_> = handle.apply(&wanted).unwrap_err().iter().cloned().collect();
    assert_eq!(settings(&misfits), [["rate.fleet.reserve"], ["rate.fleet.lease"]]);
    let edges = config(|fleet| {
        fleet.reserve = Some(Ratio::percent(100));
        fleet.lease = Some(3600 * SECOND);
    });
    handle.apply(&edges).unwrap();
}

proptest! {
    #[test]
    fn any_options_are_applied_whole_or_not_at_all(
        replicas in prop_oneof![Just(None), any::<u32>().prop_map(Some), (0..20u32).prop_map(Some)],
        reserve in prop_oneof![Just(None), (0..1_100_000u32).prop_map(Some)],
        lease in prop_oneof![Just(None), any::<u64>().prop_map(Some), (0..500_000_000u64).prop_map(Some)],
        calls in prop_oneof![Just(None), any::<u32>().prop_map(Some)],
        burst in prop_oneof![Just(None), any::<u32>().prop_map(Some)],
    ) {
        let client = client().throttle(rate(&FakeStore::new()));
        let handle = client.handle();
        let before = handle.config();
        let mut wanted = config(|fleet| {
            fleet.replicas = replicas;
            fleet.reserve = reserve.map(Ratio::per_million);
            fleet.lease = lease.map(Duration::from_nanos);
        });
        (wanted.rate.calls, wanted.rate.burst) = (calls, burst);
        match handle.apply(&wanted) {
            Ok(()) => {
                let (asked, found) = (wanted.rate.fleet, handle.config().rate.fleet);
                prop_assert_eq!(found.replicas, asked.replicas.or(before.rate.fleet.replicas));
                prop_assert_eq!(found.reserve, asked.reserve.or(before.rate.fleet.reserve));
                prop_assert_eq!(found.lease, asked.lease.or(before.rate.fleet.lease));
                prop_assert_eq!(client.misfits(), []);
            }
            Err(misfits) => {
                prop_assert!(misfits.iter().len() > 0);
                prop_assert_eq!(&handle.config(), &before);
            }
        }
        handle.apply(&ClientConfig::default()).unwrap();
        prop_assert_eq!(handle.config(), before);
    }
}

#[cfg(feature = "serde")]
mod files {
    use super::*;

    const TOML: &str = r#"
        [rate]
        calls = 100
        fleet = { replicas = 12, reserve = "10%", lease = "400ms", without_store = "fail_closed" }
    "#;

    #[test]
    fn fleet_is_read_from_all_formats_and_written_back() {
        let config: ClientConfig = toml::from_str(TOML).unwrap();
        let fleet = &config.rate.fleet;
        assert_eq!((fleet.replicas, fleet.lease), (Some(12), Some(400 * MS)));
        assert_eq!(fleet.reserve, Some(Ratio::percent(10)));
        assert_eq!(fleet.without_store, Some(WithoutStore::FailClosed));
        let yaml = "rate:\n  calls: 100\n  fleet: { replicas: 12, reserve: 10%, lease: 400ms, \
                    without_store: fail_closed }\n";
        assert_eq!(serde_norway::from_str::<ClientConfig>(yaml).unwrap(), config);
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ClientConfig>(&text).unwrap(), config);
        let server: ServerConfig = toml::from_str(TOML).unwrap();
        assert_eq!(server.rate, config.rate);
        assert_eq!(
            toml::from_str::<ServerConfig>(&toml::to_string(&server).unwrap()).unwrap(),
            server
        );
        for policy in ["local_share", "fail_open", "fail_closed"] {
            let text = format!("rate.fleet.without_store = \"{policy}\"");
            let config: ClientConfig = toml::from_str(&text).unwrap();
            assert_eq!(config.rate.fleet.without_store.unwrap().as_str(), policy);
        }
    }

    #[test]
    fn every_fault_of_a_fleet_names_its_path_and_what_to_write() {
        let text = r#"
            [rate.fleet]
            replicas = "12"
            reserve = "101%"
            lease = 200
            without_store = "open"
            store = "redis://localhost"
        "#;
        let error = toml::from_str::<ClientConfig>(text).unwrap_err().to_string();
        for line in [
            "rate.fleet.replicas: \"12\" is no whole number. Write one without quotation marks.",
            "rate.fleet.reserve: Write a share of at most 100 %, such as \"20%\".",
            "rate.fleet.lease: 200 is no time. Write a whole number with its unit, such as \"200s\" \
             or \"200ms\".",
            "rate.fleet.without_store: \"open\" is no policy. Write \"local_share\", \"fail_open\" or \
             \"fail_closed\".",
            "rate.fleet.store: There is no such setting. Known are: replicas, reserve, lease, \
             without_store.",
        ] {
            assert!(error.contains(line), "{line}\n\n{error}");
        }
        let error = toml::from_str::<ClientConfig>("rate.fleet.without_store = true").unwrap_err();
        assert!(error.to_string().contains("true is no policy."), "{error}");
        let error = toml::from_str::<ClientConfig>("rate.fleet.replicas = 1").unwrap_err();
        assert!(error.to_string().contains("rate.fleet.replicas: A rate of fewer"), "{error}");
    }

    #[test]
    fn file_that_makes_a_fast_rate_exact_is_refused_without_a_stack() {
        let file = |lease: &str| {
            let text = format!(
                "[rate]\ncalls = 2000\nper = \"1s\"\nburst = 2000\n\
                 fleet = {{ replicas = 4, reserve = \"20%\", lease = \"{lease}\" }}"
            );
            toml::from_str::<ClientConfig>(&text)
        };
        let error = file("10ms").unwrap_err().to_string();
        assert!(error.contains("rate.fleet.lease, rate.calls: Each call asks"), "{error}");
        file("20ms").unwrap();
    }
}

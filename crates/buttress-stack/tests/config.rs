//! Configurations in TOML, YAML and JSON: read in words, all faults at once, never half applied.
#![cfg(feature = "serde")]
#![expect(clippy::unwrap_used, reason = "a file that is not refused fails the test")]

use std::{collections::BTreeMap, time::Duration};

use buttress_control::Ratio;
use buttress_stack::{ClientConfig, HedgeLayer, ServerConfig, client, client_for_http};
use proptest::prelude::*;
use serde::{Deserialize, de::IntoDeserializer};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const TOML: &str = r#"
[deadline]
timeout = "1m 30s"

[retry]
attempts = 5
backoff = { base = "50ms", max = "1s" }

[hedge]
quantile = "99.5%"
least = "20ms"

[breaker]
failures = 0.25
minimum = 40
slow = { limit = "2s", ratio = "80%" }
window = "1min"
open_for = { base = "500ms", max = "20s" }
ramp = { stage = "2s", shares = ["5%", 0.5] }

[concurrency]
limit = 64
queue = 16
max_wait = "250ms"

[attempt]
timeout = "5s"
"#;

const YAML: &str = r"
deadline: { timeout: 1m 30s }
retry:
  attempts: 5
  backoff: { base: 50ms, max: 1s }
hedge: { quantile: 99.5%, least: 20ms }
breaker:
  failures: 0.25
  minimum: 40
  slow: { limit: 2s, ratio: 80% }
  window: 1min
  open_for: { base: 500ms, max: 20s }
  ramp: { stage: 2s, shares: [5%, 0.5] }
concurrency: { limit: 64, queue: 16, max_wait: 250ms }
rate:
attempt: { timeout: 5s }
";

const JSON: &str = r#"{
    "deadline": { "timeout": "1m 30s" },
    "retry": { "attempts": 5, "backoff": { "base": "50ms", "max": "1s" } },
    "hedge": { "quantile": "99.5%", "least": "20ms", "after": null },
    "breaker": {
        "failures": 0.25, "minimum": 40, "slow": { "limit": "2s", "ratio": "80%" },
        "window": "1min", "open_for": { "base": "500ms", "max": "20s" },
        "ramp": { "stage": "2s", "shares": ["5%", 0.5] }
    },
    "concurrency": { "limit": 64, "queue": 16, "max_wait": "250ms" },
    "attempt": { "timeout": "5s" }
}"#;

/// The lines of the error for this TOML.
fn faults(text: &str) -> Vec<String> {
    let error = toml::from_str::<ClientConfig>(text).unwrap_err().to_string();
    // The first lines are those of the parser.
    error.lines().filter(|line| line.contains(": ")).map(str::to_owned).collect()
}

#[track_caller]
fn assert_fault(text: &str, expected: &[&str]) {
    let faults = faults(text);
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault:?} for {expected:?}");
    }
}

#[test]
fn toml_yaml_and_json_give_the_same_settings() {
    let config: ClientConfig = toml::from_str(TOML).unwrap();
    assert_eq!(config, serde_norway::from_str(YAML).unwrap());
    assert_eq!(config, serde_json::from_str(JSON).unwrap());
    assert_eq!(config.deadline.timeout, Some(90 * SECOND));
    assert_eq!(config.retry.backoff.base, Some(50 * MS));
    assert_eq!(config.hedge.quantile, Some(Ratio::per_million(995_000)));
    assert_eq!(config.breaker.failures, Some(Ratio::percent(25)));
    assert_eq!(config.breaker.window, Some(60 * SECOND));
    assert_eq!(config.breaker.consecutive, None);
    assert_eq!(config.breaker.ramp.shares, Some([5, 50].map(Ratio::percent).to_vec()));
    assert_eq!(config.concurrency.limit, Some(64));
    let client = client().hedge(HedgeLayer::learned()).configure(&config).unwrap();
    assert_eq!(client.handle().config().attempt.timeout, Some(5 * SECOND));
}

#[test]
fn empty_file_leaves_everything_as_it_is() {
    for config in [
        toml::from_str::<ClientConfig>("").unwrap(),
        serde_json::from_str("{}").unwrap(),
        serde_json::from_str("null").unwrap(),
        serde_norway::from_str("").unwrap(),
        serde_norway::from_str("retry:\nbreaker:\n").unwrap(),
    ] {
        assert_eq!(config, ClientConfig::default());
    }
}

#[test]
fn settings_of_a_running_client_are_written_as_a_file_and_read_again() {
    let handle = client_for_http().hedge(HedgeLayer::after(50 * MS)).handle();
    let config = handle.config();
    let text = toml::to_string(&config).unwrap();
    assert!(text.contains("[attempt]\ntimeout = \"10s\"\n"), "{text}");
    assert!(text.contains("failures = \"10%\"\n"), "{text}");
    assert_eq!(toml::from_str::<ClientConfig>(&text).unwrap(), config);
    let text = serde_norway::to_string(&config).unwrap();
    assert_eq!(serde_norway::from_str::<ClientConfig>(&text).unwrap(), config);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ClientConfig>(&text).unwrap(), config);
    handle.apply(&config).unwrap();
    assert_eq!(handle.config(), config);
}

#[test]
fn all_faults_of_a_file_are_named_at_once_with_their_paths() {
    assert_fault(
        r#"
        retrry = 3
        [deadline]
        timeout = 30
        [retry]
        attempts = "3"
        backoff = { base = "-1s", cap = "1s" }
        [breaker]
        failures = 50
        window = true
        probes = -1
        [attempt]
        timeout = "0s"
        "#,
        &[
            r#"deadline.timeout: 30 is no time. Write a whole number with its unit, such as "30s" or "30ms"."#,
            r#"retry.attempts: "3" is no whole number."#,
            r#"retry.backoff.base: "-1s" is no time."#,
            "retry.backoff.cap: There is no such setting. Known are: base, max.",
            r#"breaker.failures: 50 is no share. Write it as "50%"."#,
            "breaker.window: true is no time.",
            "breaker.probes: -1 is out of range. Write a whole number from 0 to 4294967295.",
            "retrry: There is no such setting. Known are: deadline, cache, retry, hedge, breaker,",
            "attempt.timeout: Zero leaves no time at all.",
        ],
    );
}

#[test]
fn unknown_settings_are_refused_everywhere() {
    assert_fault("[x]\ny = 1", &["x: There is no such setting."]);
    assert_fault("[breaker.slow]\nlimits = 1", &["breaker.slow.limits: There is no such setting."]);
    let error = toml::from_str::<ServerConfig>("[retry]\nattempts = 3").unwrap_err().to_string();
    assert!(
        error.contains("retry: There is no such setting. Known are: deadline, concurrency, rate.")
    );
}

#[test]
fn times_need_a_unit_and_fit_into_the_range() {
    for wrong in [
        "\"30\"",
        "\"\"",
        "\"soon\"",
        "\"-5s\"",
        "5.5",
        "\"1 fortnight\"",
        "\"99999999999s\"",
        "\"0.5ns\"",
        "nan",
        "inf",
        "9223372036854775807",
        "[\"1s\"]",
        "{ secs = 1 }",
        "1979-05-27",
    ] {
        assert_fault(&format!("attempt.timeout = {wrong}"), &["attempt.timeout: "]);
    }
    let config: ClientConfig = toml::from_str("attempt.timeout = \"1.5s\"").unwrap();
    assert_eq!(config.attempt.timeout, Some(1_500 * MS));
}

#[test]
fn shares_are_percentages_or_fractions() {
    for wrong in [
        "0",
        "0.0",
        "\"0%\"",
        "1.5",
        "20",
        "-0.1",
        "\"-5%\"",
        "\"101%\"",
        "\"1e1%\"",
        "\"inf%\"",
        "\"%\"",
        "\"..%\"",
        "\"0.2\"",
        "nan",
        "inf",
        "-inf",
        "true",
        "[0.2]",
        "\"99999999999999999999%\"",
    ] {
        assert_fault(&format!("breaker.failures = {wrong}"), &["breaker.failures: "]);
    }
    for (text, percent) in
        [("1", 100), ("1.0", 100), ("0.2", 20), ("\"20 %\"", 20), ("\"7.0%\"", 7)]
    {
        let config: ClientConfig = toml::from_str(&format!("breaker.failures = {text}")).unwrap();
        assert_eq!(config.breaker.failures, Some(Ratio::percent(percent)));
    }
}

#[test]
fn numbers_are_whole_and_fit_into_the_range() {
    for wrong in ["-1", "4294967296", "3.0", "nan", "\"3\"", "true", "[3]", "0", "{ n = 3 }"] {
        assert_fault(&format!("retry.attempts = {wrong}"), &["retry.attempts: "]);
    }
    let huge = r#"{ "retry": { "attempts": 340282366920938463463374607431768211455 } }"#;
    assert!(serde_json::from_str::<ClientConfig>(huge).is_err());
    assert!(serde_norway::from_str::<ClientConfig>(huge).is_err());
}

#[test]
fn decimals_and_dates_are_named_as_they_were_written() {
    assert_fault("retry.attempts = 3.0", &["retry.attempts: 3.0 is no whole number."]);
    assert_fault("breaker.failures = 1e300", &["breaker.failures: 1e300 is no share."]);
    assert_fault(
        "attempt = 1979-05-27\ndeadline.timeout = 1979-05-27",
        &[
            r#"deadline.timeout: "1979-05-27" is no time."#,
            r#"attempt: "1979-05-27" is no section."#,
        ],
    );
}

/// Any crate of a program may turn on `arbitrary_precision` of `serde_json`, for all of them.
#[test]
fn numbers_are_read_in_the_form_of_arbitrary_precision_too() {
    let number = |text| BTreeMap::from([("$serde_json::private::Number", text)]);
    let read = |attempts, failures| {
        let retry = BTreeMap::from([("attempts", number(attempts))]);
        let breaker = BTreeMap::from([("failures", number(failures))]);
        let file = BTreeMap::from([("retry", retry), ("breaker", breaker)]);
        ClientConfig::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(
            file,
        ))
    };
    let config = read("4", "0.25").unwrap();
    assert_eq!(config.retry.attempts, Some(4));
    assert_eq!(config.breaker.failures, Some(Ratio::percent(25)));
    let error = read("4e0", "170141183460469231731687303715884105728").unwrap_err().to_string();
    assert!(error.contains("retry.attempts: 4.0 is no whole number."), "{error}");
    assert!(error.contains("breaker.failures: 1.7014118346046923e38 is no share."), "{error}");
}

#[test]
fn zeros_that_let_nothing_through_are_refused() {
    for (setting, zero) in [
        ("deadline.timeout", "\"0s\""),
        ("attempt.timeout", "\"0ms\""),
        ("retry.attempts", "0"),
        ("hedge.quantile", "\"0%\""),
        ("breaker.minimum", "0"),
        ("breaker.consecutive", "0"),
        ("breaker.window", "\"19ms\""),
        ("breaker.probes", "0"),
        ("breaker.needed", "0"),
        ("breaker.probe_patience", "\"0s\""),
        ("breaker.ramp.stage", "\"0s\""),
        ("breaker.ramp.shares", "[0]"),
        ("breaker.slow.limit", "\"0s\""),
        ("breaker.slow.ratio", "0"),
        ("concurrency.limit", "0"),
        ("concurrency.max_wait", "\"0s\""),
        ("rate.calls", "0"),
        ("rate.per", "\"0s\""),
        ("rate.burst", "0"),
        ("rate.max_wait", "\"0s\""),
    ] {
        assert_fault(&format!("{setting} = {zero}"), &[&format!("{setting}: ")]);
    }
    // No wait, no hedge, no queue and no ramp are settings like others.
    for (setting, zero) in [
        ("retry.backoff.base", "\"0s\""),
        ("hedge.after", "\"0s\""),
        ("hedge.least", "\"0s\""),
        ("hedge.at_most", "0"),
        ("breaker.open_for.base", "\"0s\""),
        ("breaker.ramp.shares", "[]"),
        ("concurrency.queue", "0"),
        ("rate.queue", "0"),
    ] {
        toml::from_str::<ClientConfig>(&format!("{setting} = {zero}")).unwrap();
    }
}

#[test]
fn more_than_a_layer_can_use_is_refused() {
    assert_fault("hedge.at_most = 101", &["hedge.at_most: Write at most 100"]);
    let shares = "breaker.ramp.shares = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]";
    assert_fault(shares, &["breaker.ramp.shares: Write at most eight shares."]);
}

#[test]
fn contradictions_within_a_file_are_found_when_it_is_read() {
    assert_fault(
        r#"
        deadline.timeout = "5s"
        attempt.timeout = "6s"
        retry.backoff = { base = "7s", max = "6s" }
        hedge = { after = "1s", quantile = "95%" }
        breaker = { window = "11s", probes = 2, needed = 3 }
        concurrency.max_wait = "5s"
        "#,
        &[
            "attempt.timeout, deadline.timeout: ",
            "breaker.needed, breaker.probes: ",
            "breaker.window, attempt.timeout: ",
            "retry.backoff.base, retry.backoff.max: ",
            "retry.backoff.base, deadline.timeout: ",
            "hedge.after, hedge.quantile, hedge.least: ",
            "concurrency.max_wait, deadline.timeout: ",
        ],
    );
}

#[test]
fn contradictions_with_the_program_are_found_when_the_file_is_applied() {
    let config: ClientConfig = toml::from_str("attempt.timeout = \"31s\"").unwrap();
    let misfits = config.build().unwrap_err().to_string();
    assert!(misfits.starts_with("attempt.timeout, deadline.timeout: "), "{misfits}");
    assert!(misfits.contains("breaker.window, attempt.timeout: "), "{misfits}");
    let config: ClientConfig = toml::from_str("breaker.slow.limit = \"1s\"").unwrap();
    let misfits = config.build().unwrap_err().to_string();
    assert!(misfits.starts_with("breaker.slow.limit, breaker.slow.ratio: "), "{misfits}");
}

#[test]
fn setting_that_stands_twice_is_refused() {
    let twice = r#"{ "retry": { "attempts": 3, "attempts": 4 }, "retry": {} }"#;
    let error = serde_json::from_str::<ClientConfig>(twice).unwrap_err().to_string();
    assert!(error.contains("retry: The setting stands there twice."), "{error}");
    assert!(error.contains("retry.attempts: The setting stands there twice."), "{error}");
    assert!(toml::from_str::<ClientConfig>("retry.attempts = 3\nretry.attempts = 4").is_err());
}

#[test]
fn file_that_is_no_section_is_refused() {
    for text in ["3", "\"retry\"", "[1]", "true", "1.5"] {
        let error = serde_json::from_str::<ClientConfig>(text).unwrap_err().to_string();
        assert!(error.contains("configuration: "), "{error}");
    }
    let error = serde_norway::from_str::<ClientConfig>("!tag {}").unwrap_err();
    assert!(!error.to_string().is_empty());
}

#[test]
fn names_that_are_no_text_are_refused_by_name() {
    let error = serde_norway::from_str::<ClientConfig>("1: 2\ntrue: 3").unwrap_err().to_string();
    assert!(error.contains("1: There is no such setting."), "{error}");
    assert!(error.contains("true: There is no such setting."), "{error}");
}

/// A text that looks like a configuration more often than not.
fn any_text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("deadline.timeout"),
        Just("attempt.timeout"),
        Just("retry.attempts"),
        Just("retry"),
        Just("retry.backoff.base"),
        Just("retry.backoff.max"),
        Just("hedge.after"),
        Just("hedge.quantile"),
        Just("hedge.least"),
        Just("hedge.at_most"),
        Just("breaker.failures"),
        Just("breaker.window"),
        Just("breaker.minimum"),
        Just("breaker.probes"),
        Just("breaker.needed"),
        Just("breaker.slow.limit"),
        Just("breaker.slow.ratio"),
        Just("breaker.ramp.shares"),
        Just("breaker.open_for.base"),
        Just("concurrency.limit"),
        Just("concurrency.queue"),
        Just("rate.calls"),
        Just("rate.per"),
        Just("unknown"),
    ];
    let value = prop_oneof![
        4 => (0..100u32, prop_oneof![Just("ms"), Just("s"), Just("min"), Just("years"), Just("%")])
            .prop_map(|(number, unit)| format!("\"{number}{unit}\"")),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        2 => (0..20i64).prop_map(|number| number.to_string()),
        2 => any::<f64>().prop_map(|number| format!("{number:?}")),
        1 => "[0-9a-z.% -]{0,70}".prop_map(|text| format!("{text:?}")),
        1 => Just("[0.1, \"50%\"]".to_owned()),
        1 => Just("[[]]".to_owned()),
        1 => Just("{ base = \"1s\" }".to_owned()),
    ];
    let line = (name, value).prop_map(|(name, value)| format!("{name} = {value}"));
    proptest::collection::vec(line, 0..5).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_applied_whole_or_not_at_all(text in any_text()) {
        let client = client().hedge(HedgeLayer::learned());
        let handle = client.handle();
        let before = handle.config();
        let Ok(config) = toml::from_str::<ClientConfig>(&text) else { return Ok(()) };
        match handle.apply(&config) {
            Ok(()) => {
                let after = handle.config();
                // Every setting of the file is in force: applied on top, it changes nothing.
                let again = toml::from_str::<ClientConfig>(&text).unwrap();
                handle.apply(&again).unwrap();
                prop_assert_eq!(&handle.config(), &after);
                if config != ClientConfig::default() {
                    for (given, found) in [
                        (config.deadline.timeout, after.deadline.timeout),
                        (config.attempt.timeout, after.attempt.timeout),
                        (config.retry.backoff.base, after.retry.backoff.base),
                        (config.hedge.after, after.hedge.after),
                        (config.breaker.window, after.breaker.window),
                    ] {
                        prop_assert!(given.is_none() || given == found || found.is_none());
                    }
                    for (given, found) in [
                        (config.retry.attempts, after.retry.attempts),
                        (config.hedge.at_most, after.hedge.at_most),
                        (config.breaker.minimum, after.breaker.minimum),
                        (config.concurrency.limit, after.concurrency.limit),
                    ] {
                        prop_assert!(given.is_none() || given == found);
                    }
                }
            }
            Err(misfits) => {
                prop_assert!(misfits.iter().len() > 0);
                prop_assert_eq!(handle.config(), before);
            }
        }
        handle.apply(&ClientConfig::default()).unwrap();
        prop_assert_eq!(handle.config(), client.handle().config());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(text in "\\PC{0,200}") {
        let _ = toml::from_str::<ClientConfig>(&text);
        let _ = serde_norway::from_str::<ClientConfig>(&text);
        let _ = serde_json::from_str::<ClientConfig>(&text);
    }

    #[test]
    fn any_time_is_read_without_a_panic(text in "[0-9]{0,21}(s|ms|y|years|weeks|ns| ){1,3}[0-9]{0,21}[a-z]{0,3}") {
        let _ = toml::from_str::<ClientConfig>(&format!("attempt.timeout = {text:?}"));
    }
}

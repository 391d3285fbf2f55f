//! The names of all metrics, as the docs and the dashboard have them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps a test may panic as the test may"
)]

use std::{collections::BTreeSet, fmt::Write, fs, path::PathBuf, time::Duration};

use buttress::{
    BreakerLayer, DeadlineLayer, DedupLayer, FallbackLayer, HedgeLayer, MeterLayer, OrderLayer,
    Redis, Registry, RetryLayer, ThrottleLayer,
    layer_api::{Metric, MetricKind},
    observability::HISTOGRAMS,
};

/// A handle of each layer.
fn all_handles() -> Registry {
    Registry::new()
        .add(MeterLayer::call(()).handle())
        .add(MeterLayer::attempt(()).handle())
        .add(DeadlineLayer::new(Duration::from_secs(1)).handle())
        .add(RetryLayer::new(3).handle())
        .add(HedgeLayer::learned().handle())
        .add(BreakerLayer::new().handle())
        .add(ThrottleLayer::concurrency(1).handle())
        .add(DedupLayer::new().handle())
        .add(OrderLayer::serial(|n: &u32| Some(*n)).handle())
        .add(FallbackLayer::value(1).handle())
        .add(Redis::open("redis://127.0.0.1:1", "store").unwrap())
}

fn vocabulary() -> Vec<&'static Metric> {
    let mut metrics = HISTOGRAMS.to_vec();
    all_handles().describe(|metric| metrics.push(metric));
    metrics
}

/// The pattern of `buttress.<pattern>.<what>`.
fn pattern(metric: &Metric) -> &'static str {
    metric.name().split('.').nth(1).unwrap()
}

/// The name that exporters give the metric in Prometheus.
fn in_prometheus(metric: &Metric) -> String {
    let name = metric.name().replace('.', "_");
    let unit = match metric.unit() {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    let total = if metric.kind() == MetricKind::Counter { "_total" } else { "" };
    format!("{}{unit}{total}", name.strip_suffix(unit).unwrap_or(&name))
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn table() -> String {
    let mut text = String::from(
        "| metric | in Prometheus | kind | unit | label | description |\n|---|---|---|---|---|---|\n",
    );
    for metric in vocabulary() {
        let kind = match metric.kind() {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            other => unreachable!("{other:?}"),
        };
        let label = metric.label().map_or("–".to_owned(), |label| format!("`{label}`"));
        writeln!(
            text,
            "| `{}` | `{}` | {kind} | `{}` | {label} | {} |",
            metric.name(),
            in_prometheus(metric),
            metric.unit(),
            metric.description(),
        )
        .unwrap();
    }
    text
}

/// With `BUTTRESS_BLESS` set, writes the table anew.
#[test]
fn table_in_the_docs_is_that_of_the_code() {
    let path = file("crates/buttress-metrics/src/vocabulary.md");
    if std::env::var_os("BUTTRESS_BLESS").is_some() {
        fs::write(&path, table()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), table());
}

#[test]
fn names_are_unique_and_descriptions_are_sentences() {
    let metrics = vocabulary();
    let names: BTreeSet<_> = metrics.iter().map(|metric| metric.name()).collect();
    assert_eq!(names.len(), metrics.len());
    for metric in metrics {
        let name = metric.name();
        assert!(name.starts_with("buttress."), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'.' || b == b'_'), "{name}");
        assert!(metric.description().ends_with('.'), "{name}");
        assert!(!metric.unit().is_empty(), "{name}");
        // A label that can have any value is a time series for each.
        let few = ["verdict", "reason", "criticality", "state", "source", "role", "kind"];
        assert!(metric.label().is_none_or(|label| few.contains(&label)), "{name}");
    }
}

/// The words after `buttress_` of all queries of the dashboard.
fn names_on_the_dashboard() -> BTreeSet<String> {
    let text = fs::read_to_string(file("examples/dashboard/buttress.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for target in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
        let query = target["expr"].as_str().unwrap();
        for (at, _) in query.match_indices("buttress_") {
            let rest = &query[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            names.insert(rest[..end.unwrap_or(rest.len())].to_owned());
        }
    }
    names
}

/// The names that a metric has in queries.
fn in_queries(metric: &Metric) -> Vec<String> {
    let name = in_prometheus(metric);
    match metric.kind() {
        MetricKind::Histogram => {
            ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).to_vec()
        }
        _ => vec![name],
    }
}

#[test]
fn dashboard_shows_every_metric_and_no_other() {
    let mut shown = names_on_the_dashboard();
    let mut missing = Vec::new();
    for metric in vocabulary() {
        let names = in_queries(metric);
        let count = names.iter().filter(|name| shown.remove(*name)).count();
        if count == 0 {
            missing.push(metric.name());
        }
    }
    assert_eq!(shown, BTreeSet::new(), "names that no layer has");
    assert_eq!(missing, NOT_ON_THE_DASHBOARD);
}

/// Left out, each for the reason given.
const NOT_ON_THE_DASHBOARD: &[&str] = &[];

#[test]
fn every_panel_has_a_title_a_description_a_unit_and_a_query() {
    let text = fs::read_to_string(file("examples/dashboard/buttress.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut panels = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        if panel["type"] == "row" {
            continue;
        }
        panels += 1;
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            // Each metric is filtered by process and by layer.
            let filtered = query.matches("instance=~\"$instance\",name=~\"$name\"").count();
            assert_eq!(query.matches("buttress_").count(), filtered, "{title}: {query}");
        }
    }
    assert!(panels > 10);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> =
        variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "instance", "name"]);
}

#[test]
fn each_pattern_has_metrics() {
    let patterns: BTreeSet<_> = vocabulary().into_iter().map(pattern).collect();
    assert_eq!(
        patterns.into_iter().collect::<Vec<_>>(),
        [
            "attempt", "breaker", "call", "deadline", "dedup", "fallback", "hedge", "order",
            "redis", "retry", "throttle"
        ]
    );
}

//! The queries of the dashboard.

use std::{fs, path::PathBuf};

use serde_json::Value;

/// A query of a panel, with the variables of Grafana filled in.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) text: String,
}

/// All queries, and those that fill the variables.
pub(crate) fn queries() -> Vec<Query> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/dashboard/buttress.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push(Query::new(target["expr"].as_str().unwrap()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = variable["query"]["query"].as_str().unwrap();
            let selector =
                query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(", "));
            let (selector, label) = selector.unwrap();
            let label = label.strip_suffix(')').unwrap();
            queries.push(Query::new(&format!("count by ({label}) ({selector})")));
        }
    }
    queries
}

impl Query {
    fn new(text: &str) -> Self {
        let text = text.replace("$__rate_interval", "10s");
        let text = text.replace("$instance", ".*").replace("$name", ".*");
        assert!(!text.contains('$'), "a variable without a value: {text}");
        Self { text }
    }
}

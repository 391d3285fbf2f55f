//! The table and the JSON.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::measure::Row;

/// The results of an overload. The JSON keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: u32,
    pub(crate) capacity_per_second: f64,
    pub(crate) patience_ms: u128,
    pub(crate) servers: Vec<Row>,
}

impl Report {
    /// Returns a table with a column per server and a line per measure.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        let names = self.servers.iter().map(|row| row.name.to_owned());
        table.set_header(std::iter::once(String::new()).chain(names));
        let capacity = self.servers.iter().map(|_| format!("{:.0}", self.capacity_per_second));
        table.add_row(std::iter::once("capacity (requests a second)".to_owned()).chain(capacity));
        for (label, value) in LINES {
            let values = self.servers.iter().map(value);
            table.add_row(std::iter::once((*label).to_owned()).chain(values));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

type Line = (&'static str, fn(&Row) -> String);

const LINES: &[Line] = &[
    ("offered", |row| format!("{:.0}", row.offered_per_second)),
    ("served in time", |row| format!("{:.0}", row.goodput_per_second)),
    ("  of the capacity", |row| percent(row.goodput)),
    ("P50 / P99 of served (ms)", |row| {
        [row.p50_ms, row.p99_ms].map(|ms| ms.map_or_else(dash, |ms| format!("{ms:.0}"))).join(" / ")
    }),
    ("rejected with 503", |row| row.rejected.to_string()),
    ("timed out at the caller", |row| row.timed_out.to_string()),
    ("failed otherwise", |row| row.failed.to_string()),
    ("not sent", |row| row.not_sent.to_string()),
    ("callers' largest delay (ms)", |row| format!("{:.0}", row.late_ms)),
    ("server's heap at the start", |row| mib(row.heap_start_bytes)),
    ("  at half of the overload", |row| mib(row.heap_half_bytes)),
    ("  at the end of the overload", |row| mib(row.heap_end_bytes)),
    ("most jobs in the pool", |row| row.most_jobs.to_string()),
    ("limit at the end of the overload", |row| {
        row.limit.map_or_else(dash, |limit| limit.to_string())
    }),
    ("served in time after the overload", |row| percent(row.recovered)),
];

fn dash() -> String {
    "–".to_owned()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "a heap far below 2^52 bytes")]
fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Run;
    use crate::server::ServerSnapshot;
    use std::time::Duration;

    #[test]
    fn table_has_a_column_per_server() {
        let snapshot =
            |mib: usize| ServerSnapshot { heap_bytes: mib << 20, ..ServerSnapshot::default() };
        let run = Run {
            name: "bare",
            records: Vec::new(),
            overload: Duration::from_secs(2),
            start: snapshot(1),
            half: snapshot(20),
            end: ServerSnapshot { most_jobs: 77, ..snapshot(40) },
        };
        let servers = vec![run.row()];
        let (capacity_per_second, patience_ms) = (400.0, 500);
        let report = Report { seed: 1, seconds: 2, capacity_per_second, patience_ms, servers };
        let table = report.table();
        for words in ["bare", "400", "20.0 MiB", "40.0 MiB", "77"] {
            assert!(table.contains(words), "{words}");
        }
    }
}

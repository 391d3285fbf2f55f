//! A table with a column per client and a line per measure.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};

/// A line: the label, and the value of a row.
pub(crate) type Line<R> = (&'static str, fn(&R) -> String);

/// Returns the table of these rows.
pub(crate) fn table<R>(rows: &[R], name: fn(&R) -> &'static str, lines: &[Line<R>]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    let names = rows.iter().map(|row| name(row).to_owned());
    table.set_header(std::iter::once(String::new()).chain(names));
    for (label, value) in lines {
        table.add_row(std::iter::once((*label).to_owned()).chain(rows.iter().map(value)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

pub(crate) fn three(a: Option<f64>, b: Option<f64>, c: Option<f64>) -> String {
    [a, b, c].map(whole).join(" / ")
}

pub(crate) fn dash() -> String {
    "–".to_owned()
}

pub(crate) fn whole(millis: Option<f64>) -> String {
    millis.map_or_else(dash, |millis| format!("{millis:.0}"))
}

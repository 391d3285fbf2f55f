//! A table of goals and measured values.

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};

/// A goal, and what was measured.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) goal: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The goal is met.
    Met,
    /// A goal that does not depend on the speed of the machine is missed.
    Missed,
    /// The goal is missed, which a busy machine explains.
    Busy,
    /// There is no goal.
    Shown,
}

impl Row {
    pub(crate) fn new(what: &str, goal: impl Into<String>, measured: String) -> Self {
        Self { what: what.to_owned(), goal: goal.into(), measured, verdict: Verdict::Shown }
    }

    /// A goal that any machine meets.
    pub(crate) fn checked(mut self, is_met: bool) -> Self {
        self.verdict = if is_met { Verdict::Met } else { Verdict::Missed };
        self
    }

    /// A goal that a machine meets that was not `busy`.
    pub(crate) fn unless(self, is_met: bool, busy: bool) -> Self {
        if busy { self.timed(is_met) } else { self.checked(is_met) }
    }

    /// A goal that a busy machine misses, by no more than a bound.
    pub(crate) fn graded(mut self, value: f64, goal: f64, bound: f64) -> Self {
        self.verdict = match value {
            value if value <= goal => Verdict::Met,
            value if value <= bound => Verdict::Busy,
            _ => Verdict::Missed,
        };
        self
    }

    /// A goal that a busy machine misses.
    pub(crate) fn timed(mut self, is_met: bool) -> Self {
        self.verdict = if is_met { Verdict::Met } else { Verdict::Busy };
        self
    }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(["", "goal", "measured", ""]);
    for row in rows {
        let verdict = match row.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Busy => "busy?",
            Verdict::Shown => "",
        };
        table.add_row([&row.what, &row.goal, &row.measured, verdict]);
    }
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

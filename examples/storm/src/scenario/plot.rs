//! The plot of the scenarios: success and upstream requests over time, and the tail of the latencies.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;

use crate::callers::Record;
use crate::report::plot::{
    Area, BLUE, FONT, OUTAGE, RED_BROWN, TEAL, chart, legend, success_per_window,
};
use crate::report::row::{millis, share};
use crate::scenario::dead_upstream::{DeadUpstreamRun, INTERVAL, WINDOW};
use crate::scenario::slow_tail::SlowTailRun;
use crate::upstream::conditions::{DEAD_FROM, DEAD_UNTIL};

/// Draws all panels into an SVG file.
pub(crate) fn draw(
    file: &Path,
    dead_upstream: &[DeadUpstreamRun],
    slow_tail: &[SlowTailRun],
) -> Result<(), Box<dyn Error>> {
    let picture = SVGBackend::new(file, (WIDTH, HEIGHT)).into_drawing_area();
    picture.fill(&WHITE)?;
    let panels = picture.split_evenly((3, 1));
    if let [served, requests, tail] = panels.as_slice() {
        let success = |run: &DeadUpstreamRun| success_per_window(&run.records, WINDOW);
        let panel = Panel {
            caption: "A dead upstream: success over time",
            unit: "% of reads that succeeded",
            most: 104.0,
            legend: SeriesLabelPosition::MiddleRight,
        };
        panel.draw(served, dead_upstream, success)?;
        let panel = Panel {
            caption: "A dead upstream: requests that reach the upstream",
            unit: "requests a second",
            most: MOST * Duration::from_secs(1).div_duration_f64(INTERVAL),
            legend: SeriesLabelPosition::UpperRight,
        };
        panel.draw(requests, dead_upstream, requests_per_second)?;
        latencies(tail, slow_tail)?;
    }
    picture.present()?;
    Ok(())
}

/// A panel over the time of the run.
struct Panel {
    caption: &'static str,
    unit: &'static str,
    /// The end of the vertical axis.
    most: f64,
    legend: SeriesLabelPosition,
}

impl Panel {
    /// Plots points of (seconds, value) for each run, and the outage.
    fn draw(
        self,
        area: &Area<'_>,
        runs: &[DeadUpstreamRun],
        points: impl Fn(&DeadUpstreamRun) -> Vec<(f64, f64)>,
    ) -> Result<(), Box<dyn Error>> {
        let last = |run: &DeadUpstreamRun| run.records.iter().map(|record| record.began).max();
        let end = runs.iter().filter_map(last).max().unwrap_or(DEAD_UNTIL);
        let mut chart = chart(area, self.caption)
            .build_cartesian_2d(0.0..end.as_secs_f64().ceil(), 0.0..self.most)?;
        chart
            .configure_mesh()
            .x_desc("seconds since the start of the run")
            .y_desc(self.unit)
            .x_label_formatter(&|seconds| format!("{seconds:.0}"))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .y_labels(6)
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 15))
            .light_line_style(WHITE)
            .draw()?;
        let outage = [(DEAD_FROM.as_secs_f64(), 0.0), (DEAD_UNTIL.as_secs_f64(), self.most)];
        chart
            .draw_series([Rectangle::new(outage, OUTAGE.filled())])?
            .label("the upstream is dead")
            .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 24, y + 6)], OUTAGE.filled()));
        for (run, style) in runs.iter().zip(styles()) {
            chart
                .draw_series(LineSeries::new(points(run), style))?
                .label(run.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
        }
        legend(&mut chart, self.legend)
    }
}

/// Points of (seconds, requests a second), one in the middle of each window.
fn requests_per_second(run: &DeadUpstreamRun) -> Vec<(f64, f64)> {
    let rate = |pair: &[(Duration, u64)]| match pair {
        [(from, before), (to, after)] if to > from => {
            let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
            let requests = u32::try_from(after - before).unwrap_or(u32::MAX);
            Some((from.midpoint(to), f64::from(requests) / (to - from)))
        }
        _ => None,
    };
    run.samples.windows(2).filter_map(rate).collect()
}

/// Plots the share of operations that took longer than each latency.
fn latencies(area: &Area<'_>, runs: &[SlowTailRun]) -> Result<(), Box<dyn Error>> {
    let mut chart = chart(area, "A slow tail: operations that take longer")
        .build_cartesian_2d(0.0..LONGEST, (LEAST..100.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("milliseconds from the start of the operation")
        .y_desc("% of operations (logarithmic)")
        .x_label_formatter(&|ms| format!("{ms:.0}"))
        .y_label_formatter(&|percent| percent.to_string())
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(WHITE)
        .draw()?;
    for (run, style) in runs.iter().zip(styles()) {
        let row = run.row();
        let p99 = row.p99_ms.map_or_else(String::new, |ms| format!(": P99 {ms:.0} ms"));
        chart
            .draw_series(LineSeries::new(slower(&run.records), style))?
            .label(format!("{}{p99}", row.name))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

/// Points of (milliseconds, percent of the operations that take longer).
fn slower(records: &[Record]) -> Vec<(f64, f64)> {
    let mut took: Vec<_> = records.iter().map(|record| millis(record.took)).collect();
    took.sort_unstable_by(f64::total_cmp);
    let all = took.len();
    let points = took.into_iter().zip(1..).map(|(ms, rank)| (ms, 100.0 * share(all - rank, all)));
    std::iter::once((0.0, 100.0)).chain(points).collect()
}

fn styles() -> impl Iterator<Item = ShapeStyle> {
    [RED_BROWN, BLUE, TEAL].into_iter().map(|colour| colour.stroke_width(2))
}

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 1080;
const LONGEST: f64 = 700.0;
const LEAST: f64 = 0.1;

/// The most requests a second on the axis, in reads a second.
const MOST: f64 = 2.5;

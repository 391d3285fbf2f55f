//! The plot: the latency of operations, and their success rate over time.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::callers::Record;
use crate::report::row::{Run, millis, share};
use crate::upstream::conditions::Conditions;

/// Draws both panels into an SVG file.
pub(crate) fn draw(file: &Path, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let picture = SVGBackend::new(file, (WIDTH, HEIGHT)).into_drawing_area();
    picture.fill(&WHITE)?;
    let (upper, lower) = picture.split_vertically(HEIGHT / 2);
    latencies(&upper, runs)?;
    over_time(&lower, runs)?;
    picture.present()?;
    Ok(())
}

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Plots the share of all operations that have succeeded within each latency. A curve ends at the client's
/// success rate.
fn latencies(area: &Area<'_>, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let mut chart = chart(area, "Time until an operation has succeeded")
        .build_cartesian_2d((SHORTEST..LONGEST).log_scale(), 0.0..100.0)?;
    chart
        .configure_mesh()
        .x_desc("milliseconds from the start of the operation (logarithmic)")
        .y_desc("% of all operations")
        .x_labels(20)
        .x_label_formatter(&|ms| tick(*ms))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(WHITE)
        .draw()?;
    for (run, style) in runs.iter().zip(styles()) {
        chart
            .draw_series(LineSeries::new(latency_curve(run), style))?
            .label(legend_text(run))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    legend(&mut chart, SeriesLabelPosition::LowerRight)
}

/// Returns the label of a tick. Of a decade only 1, 2 and 5 are labelled.
fn tick(ms: f64) -> String {
    let text = format!("{ms:.0}");
    if text.starts_with(['1', '2', '5']) { text } else { String::new() }
}

/// Returns the legend of a curve.
fn legend_text(run: &Run) -> String {
    let row = run.row();
    let p95 = row.p95_ms.map_or_else(String::new, |ms| format!(", 95 % of them within {ms:.0} ms"));
    format!("{}: {:.1} % succeed{p95}", row.name, row.success_rate * 100.0)
}

/// Plots the share of successes among the operations that began in each window, and the outages.
fn over_time(area: &Area<'_>, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let end = runs.iter().map(Run::took).max().unwrap_or_default();
    let mut chart = chart(area, "Success over time")
        .build_cartesian_2d(0.0..end.as_secs_f64().ceil().max(1.0), 0.0..104.0)?;
    chart
        .configure_mesh()
        .x_desc("start of the operations (seconds since the start of the run)")
        .y_desc("% of operations that succeeded")
        .x_label_formatter(&|seconds| format!("{seconds:.0}"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .y_labels(6)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(WHITE)
        .draw()?;
    let outages = Conditions::Storm.outages().take_while(|(from, _)| *from <= end);
    let bands = outages.map(|(from, to)| {
        let corners = [(from.as_secs_f64(), 0.0), (to.as_secs_f64(), 104.0)];
        Rectangle::new(corners, OUTAGE.filled())
    });
    chart
        .draw_series(bands)?
        .label("outage: connections are reset")
        .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 24, y + 6)], OUTAGE.filled()));
    for (run, style) in runs.iter().zip(styles()) {
        chart
            .draw_series(LineSeries::new(success_per_window(&run.records, window(run)), style))?
            .label(run.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

/// Returns a chart with a caption, margins and room for the labels of both axes.
pub(crate) fn chart<'a, 'b>(
    area: &'a Area<'b>,
    caption: &str,
) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(caption, (FONT, 20))
        .margin(MARGIN)
        .margin_right(3 * MARGIN)
        .x_label_area_size(46)
        .y_label_area_size(64);
    chart
}

pub(crate) fn legend<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Result<(), Box<dyn Error>>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(position)
        .margin(12)
        .legend_area_size(34)
        .label_font((FONT, 15))
        .background_style(WHITE.mix(0.85))
        .border_style(GREY)
        .draw()?;
    Ok(())
}

/// Points of (milliseconds, percent).
fn latency_curve(run: &Run) -> Vec<(f64, f64)> {
    let succeeded = run.records.iter().filter(|record| record.outcome.is_ok());
    let mut took: Vec<_> = succeeded.map(|record| millis(record.took)).collect();
    took.sort_unstable_by(f64::total_cmp);
    let all = run.records.len();
    let points = took.iter().zip(1..).map(|(ms, rank)| (*ms, 100.0 * share(rank, all)));
    let last = (LONGEST, 100.0 * share(took.len(), all));
    std::iter::once((SHORTEST, 0.0)).chain(points).chain([last]).collect()
}

/// Points of (seconds, percent), one in the middle of each window in which operations began.
pub(crate) fn success_per_window(records: &[Record], window: Duration) -> Vec<(f64, f64)> {
    let end = records.iter().map(|record| record.began).max().unwrap_or_default();
    let mut points = Vec::new();
    let mut start = Duration::ZERO;
    while start <= end {
        let begun = records.iter().filter(|record| (start..start + window).contains(&record.began));
        let (mut all, mut succeeded) = (0, 0);
        for record in begun {
            all += 1;
            succeeded += usize::from(record.outcome.is_ok());
        }
        if all >= MIN_OPERATIONS as usize {
            points.push(((start + window / 2).as_secs_f64(), 100.0 * share(succeeded, all)));
        }
        start += window;
    }
    points
}

/// Returns the length of the windows. The fewer operations there are, the longer the windows.
fn window(run: &Run) -> Duration {
    let operations = u32::try_from(run.records.len()).unwrap_or(u32::MAX).max(1);
    WINDOW.max(run.took() * 2 * MIN_OPERATIONS / operations)
}

/// The line styles, one per client in the order of the rows.
fn styles() -> impl Iterator<Item = ShapeStyle> {
    [(RED_BROWN, 3), (BLUE, 3), (LIGHT_BLUE, 2), (TEAL, 2), (PURPLE, 2)]
        .into_iter()
        .map(|(colour, width)| colour.stroke_width(width))
}

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 860;
const MARGIN: u32 = 14;
pub(crate) const FONT: &str = "sans-serif";
const SHORTEST: f64 = 50.0;
const LONGEST: f64 = 10_000.0;
const WINDOW: Duration = Duration::from_millis(500);

/// The least operations in a window. The success rate of fewer operations is noise.
const MIN_OPERATIONS: u32 = 5;

pub(crate) const RED_BROWN: RGBColor = RGBColor(192, 57, 43);
pub(crate) const BLUE: RGBColor = RGBColor(31, 97, 191);
const LIGHT_BLUE: RGBColor = RGBColor(122, 178, 240);
pub(crate) const TEAL: RGBColor = RGBColor(64, 168, 150);
const PURPLE: RGBColor = RGBColor(142, 98, 170);
const GREY: RGBColor = RGBColor(170, 170, 170);
pub(crate) const OUTAGE: RGBColor = RGBColor(228, 222, 205);

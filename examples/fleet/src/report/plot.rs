//! The plot: what the fleet admits in an outage, and how long decisions take.

use std::{error::Error, path::Path, time::Duration};

use plotters::{coord::Shift, prelude::*};

use crate::parts::outage::{self, Fault, Outage};
use crate::run::Run;

/// A curve of the lower panel.
pub(crate) struct Curve<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: &'a Run,
}

pub(crate) fn draw(
    file: &Path,
    outages: &[&Outage],
    curves: &[Curve<'_>],
) -> Result<(), Box<dyn Error>> {
    let picture = SVGBackend::new(file, (1000, 860)).into_drawing_area();
    picture.fill(&WHITE)?;
    let (upper, lower) = picture.split_vertically(430);
    over_time(&upper, outages)?;
    decisions(&lower, curves)?;
    picture.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Plots the admissions per second of the whole fleet.
fn over_time(area: &Area<'_>, outages: &[&Outage]) -> Result<(), Box<dyn Error>> {
    let rate = f64::from(outage::RATE);
    let end = outage::TIME.as_secs_f64();
    let mut chart =
        chart(area, "Four replicas offered three times their rate, and a store that is away")
            .build_cartesian_2d(0.0..end, 0.0..2.2 * rate)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_desc("admitted per second, in windows of 50 ms")
        .x_label_formatter(&|seconds| format!("{seconds:.0}"))
        .y_label_formatter(&|count| format!("{count:.0}"))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(WHITE)
        .draw()?;
    let band = outages.first().map(|outage| {
        let [from, to] = [outage.away.start, outage.away.end].map(seconds);
        Rectangle::new([(from, 0.0), (to, 2.2 * rate)], AWAY.filled())
    });
    chart
        .draw_series(band)?
        .label("the store is away")
        .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 24, y + 6)], AWAY.filled()));
    chart
        .draw_series(LineSeries::new([(0.0, rate), (end, rate)], GREY.stroke_width(2)))?
        .label("the rate")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], GREY.stroke_width(2)));
    for (outage, colour) in outages.iter().zip([RED_BROWN, BLUE]) {
        let name = match outage.fault {
            Fault::Killed => "killed, and started again without its state",
            Fault::Stopped => "stopped and continued",
        };
        chart
            .draw_series(LineSeries::new(per_window(&outage.run), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(2)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

/// Plots the share of decisions that take longer than each time.
fn decisions(area: &Area<'_>, curves: &[Curve<'_>]) -> Result<(), Box<dyn Error>> {
    let mut chart = chart(area, "Time of a decision")
        .build_cartesian_2d((0.0001..100.0).log_scale(), (0.001..100.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("milliseconds (logarithmic)")
        .y_desc("% of calls that wait longer (logarithmic)")
        .x_label_formatter(&|ms| format!("{ms}"))
        .y_label_formatter(&|percent| format!("{percent}"))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(WHITE)
        .draw()?;
    for (curve, colour) in curves.iter().zip([TEAL, PURPLE, RED_BROWN, BLUE]) {
        let points = longer(&curve.run.decisions(0..u64::MAX));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(2)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

/// Points of (seconds, calls per second), one in the middle of each window.
fn per_window(run: &Run) -> Vec<(f64, f64)> {
    let window = u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX);
    let windows = u64::try_from(outage::TIME.as_micros()).unwrap_or_default() / window;
    let times = run.admissions();
    let count = |number: u64| {
        let from = times.partition_point(|time| *time < number * window);
        let to = times.partition_point(|time| *time < (number + 1) * window);
        u32::try_from(to - from).map_or(0.0, f64::from)
    };
    let point =
        |number| (seconds(number * window + window / 2), count(number) / WINDOW.as_secs_f64());
    (0..windows).map(point).collect()
}

/// Points of (milliseconds, percent). The curve has 20 points for each factor of ten.
fn longer(sorted: &[Duration]) -> Vec<(f64, f64)> {
    let all = count(sorted.len()).max(1.0);
    let point = |step: i32| {
        let ms = 10_f64.powf(f64::from(step) / 20.0);
        let rank = sorted.partition_point(|took| took.as_secs_f64() * 1000.0 <= ms);
        (ms, 100.0 * count(sorted.len() - rank) / all)
    };
    (-80..=40).map(point).filter(|(_, percent)| *percent > 0.0).collect()
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(0.0, f64::from)
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

fn chart<'a, 'b>(area: &'a Area<'b>, caption: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(caption, (FONT, 20))
        .margin(14)
        .margin_right(42)
        .x_label_area_size(46)
        .y_label_area_size(68);
    chart
}

fn legend<'a, X, Y>(
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

const WINDOW: Duration = Duration::from_millis(50);
const FONT: &str = "sans-serif";
const RED_BROWN: RGBColor = RGBColor(192, 57, 43);
const BLUE: RGBColor = RGBColor(31, 97, 191);
const TEAL: RGBColor = RGBColor(64, 168, 150);
const PURPLE: RGBColor = RGBColor(142, 98, 170);
const GREY: RGBColor = RGBColor(170, 170, 170);
const AWAY: RGBColor = RGBColor(228, 222, 205);

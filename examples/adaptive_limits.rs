//! The adaptive limits under a service that loses half of its servers and regains them, in virtual time.
//!
//! Prints a table, and writes a plot to the file of the first argument. Default: `target/adaptive_limits.svg`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buttress_control::{Adapt, Aimd, Gradient, Gradient2, Nanos, Sample, Trend, Vegas, near_limit};
use buttress_testkit::{Queueing, Times};
use plotters::coord::Shift;
use plotters::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let runs = [
        run("AIMD", Aimd::default()),
        run("Vegas", Vegas::default()),
        run("Gradient", Gradient::default()),
        run("Gradient2", Gradient2::default()),
        run("Trend", Trend::default()),
        run("no limit", Vegas::default().min(u32::MAX)),
    ];
    table(&runs);
    let file =
        std::env::args_os().nth(1).map_or("target/adaptive_limits.svg".into(), PathBuf::from);
    file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    draw(&file, runs.split_last().map_or(&[], |(_, limited)| limited))?;
    println!("\n{}", file.display());
    Ok(())
}

/// The calls under a law.
struct Run {
    name: &'static str,
    calls: Vec<Call>,
}

#[derive(Clone, Copy)]
struct Call {
    ended: Duration,
    rtt: Duration,
    /// The limit after the call.
    limit: u32,
}

fn run(name: &'static str, mut law: impl Adapt) -> Run {
    let service = Times::Exponential(SERVICE);
    let mut queueing = Queueing::new(SEED, 0, service).every(SERVICE / 40).limit(law.limit());
    let mut calls = Vec::new();
    for servers in SERVERS {
        queueing.resize(servers);
        queueing.run(PART, |call| {
            if near_limit(call.in_flight, law.limit()) {
                law.learn(Sample::new(Nanos::from(call.started), call.rtt, call.in_flight, false));
            }
            let ended = call.started + call.rtt;
            calls.push(Call { ended, rtt: call.rtt, limit: law.limit() });
            law.limit()
        });
    }
    Run { name, calls }
}

impl Run {
    /// Returns the calls that ended in a part.
    fn part(&self, part: u32) -> impl Iterator<Item = &Call> {
        let during = PART * part..PART * (part + 1);
        self.calls.iter().filter(move |call| during.contains(&call.ended))
    }

    /// Returns the median limit of a part, the throughput in percent of the capacity, and P95 in milliseconds.
    fn figures(&self, part: u32, servers: u32) -> (u32, f64, f64) {
        let limit = percentile(50, self.part(part).map(|call| call.limit));
        let rtt = percentile(95, self.part(part).map(|call| call.rtt));
        let completed = u32::try_from(self.part(part).count()).unwrap_or(u32::MAX);
        let capacity = (PART * servers).div_duration_f64(SERVICE);
        (limit, 100.0 * f64::from(completed) / capacity, rtt.as_secs_f64() * 1e3)
    }

    fn caption(&self) -> String {
        let figures: Vec<_> = (0..).zip(SERVERS).map(|(part, n)| self.figures(part, n)).collect();
        let medians: Vec<_> = figures.iter().map(|(limit, _, _)| limit.to_string()).collect();
        let p95s: Vec<_> = figures.iter().map(|(_, _, p95)| format!("{p95:.0}")).collect();
        let (medians, p95s) = (medians.join(", "), p95s.join(", "));
        format!("{}: median {medians}; P95 {p95s} ms", self.name)
    }
}

fn table(runs: &[Run]) {
    println!("Calls of 10 ms arrive at twice the capacity of 20 servers.\n");
    println!("          |      20 servers       |      10 servers       |      20 servers");
    println!("          | limit completed   P95 | limit completed   P95 | limit completed   P95");
    for run in runs {
        print!("{:9}", run.name);
        for (part, servers) in (0..).zip(SERVERS) {
            let (limit, completed, p95) = run.figures(part, servers);
            let limit = if limit == u32::MAX { "-".to_owned() } else { limit.to_string() };
            print!(" | {limit:>5} {completed:>6.1} % {p95:>5.0}");
        }
        println!();
    }
    println!("\ncompleted: percent of the capacity. P95: of the admitted calls, in ms.");
}

fn draw(file: &Path, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let picture = SVGBackend::new(file, (WIDTH, HEIGHT)).into_drawing_area();
    picture.fill(&WHITE)?;
    let picture = picture.titled(TITLE, (FONT, 17))?;
    for (panel, run) in picture.split_evenly((runs.len(), 1)).iter().zip(runs) {
        limits(panel, run)?;
    }
    picture.present()?;
    Ok(())
}

/// Plots the limit of a law over time. The background marks one to two times the number of servers.
fn limits(area: &DrawingArea<SVGBackend<'_>, Shift>, run: &Run) -> Result<(), Box<dyn Error>> {
    let end = PART.as_secs_f64() * 3.0;
    let mut chart = ChartBuilder::on(area)
        .caption(run.caption(), (FONT, 15))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..end, 0.0..50.0)?;
    let target = (0..).zip(SERVERS).map(|(part, servers)| {
        let (from, to) = (PART * part, PART * (part + 1));
        let (low, high) = (f64::from(servers), f64::from(2 * servers));
        Rectangle::new([(from.as_secs_f64(), low), (to.as_secs_f64(), high)], TARGET.filled())
    });
    chart.draw_series(target)?;
    chart
        .configure_mesh()
        .y_desc("limit")
        .x_label_formatter(&|seconds| format!("{seconds:.0} s"))
        .y_label_formatter(&|limit| format!("{limit:.0}"))
        .x_labels(13)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .draw()?;
    chart.draw_series(LineSeries::new(steps(&run.calls), BLUE.stroke_width(1)))?;
    Ok(())
}

/// Returns points of (seconds, limit), two for each change.
fn steps(calls: &[Call]) -> Vec<(f64, f64)> {
    let changes = calls.windows(2).filter_map(|pair| match pair {
        [before, after] if before.limit != after.limit => Some(
            [before.limit, after.limit].map(|limit| (after.ended.as_secs_f64(), f64::from(limit))),
        ),
        _ => None,
    });
    let point = |call: &Call| (call.ended.as_secs_f64(), f64::from(call.limit));
    let (first, last) = (calls.first().map(point), calls.last().map(point));
    first.into_iter().chain(changes.flatten()).chain(last).collect()
}

fn percentile<T: Ord + Copy + Default>(percent: usize, values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.get(values.len() * percent / 100).copied().unwrap_or_default()
}

const SEED: u64 = 20;
const SERVICE: Duration = Duration::from_millis(10);
const PART: Duration = Duration::from_secs(20);
const SERVERS: [u32; 3] = [20, 10, 20];

const TITLE: &str = "The limit with 20, 10 and again 20 servers, at twice the capacity. Green: one to two \
                     times the servers. Dips: probes.";
const WIDTH: u32 = 1000;
const HEIGHT: u32 = 1050;
const FONT: &str = "sans-serif";
const TARGET: RGBColor = RGBColor(214, 234, 220);
const BLUE: RGBColor = RGBColor(31, 97, 191);

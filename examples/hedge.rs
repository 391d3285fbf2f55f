//! `HedgeLayer` around the client of hyper-util: a request that takes long is sent once more, and the first response
//! wins.
//!
//! Two responses in a hundred of the upstream take ten times as long as the others. Prints the latencies with and
//! without the hedge. Writes a plot of both to the file of the first argument. Default: `target/hedge.svg`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use axum::{Router, extract::State, routing::get};
use buttress::{BoxError, HedgeLayer, HttpExt};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use plotters::prelude::*;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

/// Responds after 80 to 120 ms. Every fiftieth response takes 1 s.
async fn hello(State(requests): State<Arc<AtomicU32>>) -> &'static str {
    let request = requests.fetch_add(1, Relaxed);
    sleep(if request % 50 == 0 { ms(1_000) } else { ms(80 + 10 * u64::from(request % 5)) }).await;
    "hello"
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Sends a second request after the P95 of recent latencies. The budget allows 5 % more requests.
    let hedge = HedgeLayer::learned();
    let handle = hedge.handle();
    let plain = Client::builder(TokioExecutor::new()).build_http();
    let hedged = ServiceBuilder::new().layer(hedge.http()).service(plain.clone());

    // At the same time, each with an upstream of its own.
    let (plain, hedged) = tokio::try_join!(run("without", plain), run("with", hedged))?;
    for Run { name, took, requests } in [&plain, &hedged] {
        let [p50, p95, p99] = [50, 95, 99].map(|percent| percentile(took, percent));
        let calls = took.len();
        println!(
            "{name:>7} the hedge: P50 {p50:.1?}, P95 {p95:.1?}, P99 {p99:.1?}, {requests} requests for {calls} calls"
        );
    }
    println!(
        "delay before a hedge: {:.1?}, won: {} of {}",
        handle.delay(),
        handle.won(),
        handle.sent()
    );
    let file = std::env::args_os().nth(1).map_or("target/hedge.svg".into(), PathBuf::from);
    file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    draw(&file, &[&plain, &hedged])?;
    println!("{}", file.display());
    assert!(2 * percentile(&hedged.took, 99) <= percentile(&plain.took, 99), "P99 is not halved");
    assert!(100 * hedged.requests <= 106 * plain.requests, "more than 6 % more requests");
    Ok(())
}

/// The calls of a client after its warm-up.
struct Run {
    name: &'static str,
    /// The sorted latencies.
    took: Vec<Duration>,
    /// The requests that the upstream received.
    requests: u32,
}

/// Serves and calls on loopback.
async fn run<S, B>(name: &'static str, client: S) -> Result<Run, BoxError>
where
    S: Service<
            Request<Empty<Bytes>>,
            Response = Response<B>,
            Error: Into<BoxError> + Send,
            Future: Send,
        > + Clone
        + Send
        + 'static,
    B: Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let uri = format!("http://{}/", listener.local_addr()?);
    let requests = Arc::new(AtomicU32::new(0));
    let app = Router::new().route("/", get(hello)).with_state(Arc::clone(&requests));
    let calls = async {
        // The hedge knows its first delay after 3 s.
        calls(&client, &uri, WARM_UP).await?;
        let before = requests.load(Relaxed);
        let took = calls(&client, &uri, CALLS).await?;
        Ok(Run { name, took, requests: requests.load(Relaxed) - before })
    };
    tokio::select! {
        served = axum::serve(listener, app) => Err(served.err().map_or("stopped".into(), Into::into)),
        run = calls => run,
    }
}

/// Begins a call every 10 ms, and returns the sorted latencies.
async fn calls<S, B>(client: &S, uri: &str, number: u32) -> Result<Vec<Duration>, BoxError>
where
    S: Service<
            Request<Empty<Bytes>>,
            Response = Response<B>,
            Error: Into<BoxError> + Send,
            Future: Send,
        > + Clone
        + Send
        + 'static,
    B: Send + 'static,
{
    let mut ticks = interval(EVERY);
    let mut running = JoinSet::new();
    for _ in 0..number {
        let began = ticks.tick().await;
        let call = client.clone().oneshot(Request::get(uri).body(Empty::new())?);
        running.spawn(async move {
            call.await.map_err(Into::into)?;
            Ok::<_, BoxError>(began.elapsed())
        });
    }
    let took = running.join_all().await;
    let mut took = took.into_iter().collect::<Result<Vec<_>, _>>()?;
    took.sort_unstable();
    Ok(took)
}

/// Returns the percentile by nearest rank. `sorted` is not empty.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() * percent).div_ceil(100) - 1).copied().unwrap_or_default()
}

/// Plots the share of calls that took longer than each latency.
fn draw(file: &Path, runs: &[&Run]) -> Result<(), BoxError> {
    let picture = SVGBackend::new(file, (1000, 420)).into_drawing_area();
    picture.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&picture)
        .caption("Calls that take longer, with and without a hedge", (FONT, 18))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..1_200.0, (0.05..100.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("ms")
        .y_desc("% of calls (logarithmic)")
        .x_label_formatter(&|ms| format!("{ms:.0}"))
        .y_label_formatter(&f64::to_string)
        .x_labels(13)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (run, colour) in runs.iter().zip([ORANGE, BLUE]) {
        let style = colour.stroke_width(2);
        let p99 = percentile(&run.took, 99);
        chart
            .draw_series(LineSeries::new(slower(&run.took), style))?
            .label(format!("{} the hedge: P99 {p99:.0?}", run.name))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 14))
        .background_style(WHITE)
        .draw()?;
    picture.present()?;
    Ok(())
}

/// Returns points of (milliseconds, percent of the calls that take longer).
fn slower(sorted: &[Duration]) -> Vec<(f64, f64)> {
    let left = (0..sorted.len()).rev().map(|left| u32::try_from(left).unwrap_or(u32::MAX));
    let all = u32::try_from(sorted.len()).unwrap_or(u32::MAX).max(1);
    let percent = left.map(|left| 100.0 * f64::from(left) / f64::from(all));
    sorted.iter().map(|took| took.as_secs_f64() * 1e3).zip(percent).collect()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// 100 calls a second: 4 s of warm-up, and 12 s that count.
const EVERY: Duration = ms(10);
const WARM_UP: u32 = 400;
const CALLS: u32 = 1_200;

const FONT: &str = "sans-serif";
const ORANGE: RGBColor = RGBColor(214, 118, 30);
const BLUE: RGBColor = RGBColor(31, 97, 191);

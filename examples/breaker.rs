//! `BreakerLayer` around the client of hyper-util, before an upstream that dies and comes back.
//!
//! Prints each change of the circuit's state. Writes a plot of the states and of the calls to the file of the first
//! argument. Default: `target/breaker.svg`.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use buttress::{Backoff, BoxError, BreakerLayer, CircuitState, HttpExt, Jitter, Ratio, Rejection};
use http::{Request, Response};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use plotters::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::{task::JoinSet, time::Instant, time::interval};
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Opens at half of at least 20 calls or after 20 failures in a row, first for up to 0.5 s. Once 3 of 5 probes
    // have succeeded, the ramp admits 10 %, 25 % and 50 % of the calls.
    let breaker = BreakerLayer::new()
        .open_for(Backoff::exponential(ms(500), ms(2_000)).jitter(Jitter::Equal))
        .ramp(ms(500), &[10, 25, 50].map(Ratio::percent));
    let circuit = breaker.handle();
    let client = ServiceBuilder::new()
        .layer(breaker.http())
        .service(Client::builder(TokioExecutor::new()).build_http::<Body>());

    let (address, upstream) = serve(([127, 0, 0, 1], 0).into())?;
    let mut upstream = Some(upstream);
    let mut calls = JoinSet::new();
    let mut states = Vec::new();
    let mut ticks = interval(EVERY);
    let start = Instant::now();
    while start.elapsed() < END {
        ticks.tick().await;
        let now = start.elapsed();
        if let Some(alive) = upstream.take_if(|_| DEAD.contains(&now)) {
            println!("{now:7.2?}  the upstream dies");
            alive.shutdown_background(); // closes the listener and all connections
        } else if upstream.is_none() && !DEAD.contains(&now) {
            println!("{now:7.2?}  the upstream is back");
            upstream = Some(serve(address)?.1);
        }
        let state = circuit.state();
        if states.last().is_none_or(|(_, last)| *last != state) {
            println!("{now:7.2?}  {state:?}");
            states.push((now, state));
        }
        calls.spawn(call(client.clone(), address, now));
    }
    let calls = Calls(calls.join_all().await);
    if let Some(alive) = upstream {
        alive.shutdown_background();
    }
    let before = calls.share(&(Duration::ZERO..ms(2_500)), Outcome::Success);
    let sent = 100.0 - calls.share(&DEAD, Outcome::Rejected);
    let after = calls.share(&(LAST_SECOND..END), Outcome::Success);
    println!(
        "{before:.1} % succeed before the outage, {after:.1} % at the end. {sent:.1} % are sent in the outage."
    );
    assert!(before > 99.0 && after > 99.0, "calls fail although the upstream is alive");
    assert!(sent < 25.0, "the breaker sends calls to a dead upstream");
    assert_eq!(circuit.state(), CircuitState::Closed);
    let file = std::env::args_os().nth(1).map_or("target/breaker.svg".into(), PathBuf::from);
    file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    draw(&file, &states, &calls)?;
    println!("{}", file.display());
    Ok(())
}

/// Serves on `address` in a runtime of its own, whose end closes all sockets.
fn serve(address: SocketAddr) -> std::io::Result<(SocketAddr, Runtime)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(async {
        let app = Router::new().route("/", get(|| async { "hello" }));
        axum::serve(tokio::net::TcpListener::from_std(listener)?, app).await
    });
    Ok((address, runtime))
}

/// Calls the upstream once.
async fn call<B>(
    client: impl Service<Request<Body>, Response = Response<B>>,
    address: SocketAddr,
    began: Duration,
) -> (Duration, Outcome) {
    let request = Request::get(format!("http://{address}/")).body(Body::empty());
    let Ok(request) = request else { return (began, Outcome::Failure) };
    let outcome = match client.oneshot(request).await {
        // The breaker rejects with a 503 that carries the rejection.
        Ok(response) if response.extensions().get::<Rejection>().is_some() => Outcome::Rejected,
        Ok(response) if response.status().is_success() => Outcome::Success,
        _ => Outcome::Failure,
    };
    (began, outcome)
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Success,
    Failure,
    Rejected,
}

/// The start of each call since the start of the run, and its outcome.
struct Calls(Vec<(Duration, Outcome)>);

impl Calls {
    /// Returns the percentage of the calls begun in `during` that ended with `outcome`.
    fn share(&self, during: &Range<Duration>, outcome: Outcome) -> f64 {
        let begun = || self.0.iter().filter(|(began, _)| during.contains(began));
        let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let ended = begun().filter(|(_, ended)| *ended == outcome).count();
        100.0 * count(ended) / count(begun().count()).max(1.0)
    }

    /// Returns points of (seconds, percent), one in the middle of each window.
    fn over_time(&self, percent: impl Fn(&Self, &Range<Duration>) -> f64) -> Vec<(f64, f64)> {
        let windows = (0..).map(|window| WINDOW * window).take_while(|from| *from + WINDOW <= END);
        let point = |from: Duration| {
            ((from + WINDOW / 2).as_secs_f64(), percent(self, &(from..from + WINDOW)))
        };
        windows.map(point).collect()
    }
}

fn draw(file: &Path, states: &[(Duration, CircuitState)], calls: &Calls) -> Result<(), BoxError> {
    let picture = SVGBackend::new(file, (1000, 420)).into_drawing_area();
    picture.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&picture)
        .caption("A circuit breaker before an upstream that dies and comes back", (FONT, 18))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..END.as_secs_f64(), 0.0..106.0)?;
    let band = |from: Duration, to: Duration, low, high| {
        [(from.as_secs_f64(), low), (to.as_secs_f64(), high)]
    };
    for (state, colour) in COLOURS {
        let ends = states.iter().skip(1).map(|(from, _)| *from).chain([END]);
        let bands = states.iter().zip(ends).filter(|((_, of), _)| *of == state);
        let bands = bands.map(|((from, _), to)| band(*from, to, 0.0, 100.0));
        chart
            .draw_series(bands.map(|corners| Rectangle::new(corners, colour.filled())))?
            .label(state.as_str())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 20, y + 5)], colour.filled()));
    }
    chart
        .draw_series([Rectangle::new(band(DEAD.start, DEAD.end, 102.0, 106.0), BLACK.filled())])?
        .label("upstream dead")
        .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 20, y + 5)], BLACK.filled()));
    chart
        .configure_mesh()
        .y_desc("% of calls")
        .x_label_formatter(&|seconds| format!("{seconds:.0} s"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .x_labels(14)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let sent = calls.over_time(|calls, at| 100.0 - calls.share(at, Outcome::Rejected));
    let succeeded = calls.over_time(|calls, at| calls.share(at, Outcome::Success));
    for (points, name, colour) in [(sent, "sent", ORANGE), (succeeded, "succeeded", BLUE)] {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().label_font((FONT, 14)).background_style(WHITE).draw()?;
    picture.present()?;
    Ok(())
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const EVERY: Duration = ms(10);
const DEAD: Range<Duration> = ms(3_000)..ms(7_000);
const LAST_SECOND: Duration = ms(12_000);
const END: Duration = ms(13_000);
const WINDOW: Duration = ms(200);

const FONT: &str = "sans-serif";
const ORANGE: RGBColor = RGBColor(214, 118, 30);
const BLUE: RGBColor = RGBColor(31, 97, 191);
const COLOURS: [(CircuitState, RGBColor); 4] = [
    (CircuitState::Closed, RGBColor(214, 234, 220)),
    (CircuitState::Open, RGBColor(244, 208, 200)),
    (CircuitState::HalfOpen, RGBColor(160, 140, 190)),
    (CircuitState::Ramp, RGBColor(250, 238, 190)),
];

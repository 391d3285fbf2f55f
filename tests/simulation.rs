//! CO-08: the same seed gives the same bytes, for a stack of all layers.

use std::{convert::Infallible, env, fs, process::Command, thread, time::Duration};

use buttress::{
    Authority, BoxError, BreakerLayer, Cache, DeadlineLayer, DedupLayer, FallbackLayer, HedgeLayer,
    HttpExt, OrderLayer, RetryLayer, ThrottleLayer, layer_api::WallClock,
};
use buttress_testkit::{
    InjectedFault, Load, SimulationLog, Weather, WeatherLayer, assert_reproducible, simulate,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All kinds of weather in 2 s.
fn weather(seed: u64) -> Weather {
    Weather::seeded(seed)
        .lognormal(ms(20), ms(80))
        .faults(0.1)
        .hangs(0.02)
        .throttles(0.05, s(1))
        .slow_tail(0.02, 10.0)
        .brownout(ms(500), ms(800), 3.0)
        .outage(s(1), ms(1300))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape of a key"
)]
fn last_digit(number: &u64) -> Option<u64> {
    Some(number % 10)
}

/// All nine layers in [`Plain`](buttress::Plain) mode. No layer has a seed of its own.
async fn plain(seed: u64) {
    let weather = WeatherLayer::new(
        weather(seed),
        |number: &u64| *number,
        |fault: InjectedFault| {
            Err(BoxError::from(if fault.retry_after.is_some() { "throttled" } else { "down" }))
        },
    );
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::value(u64::MAX))
        .layer(DeadlineLayer::new(s(2)))
        .layer(DedupLayer::keyed(|number: &u64| Some(*number % 150)).cache(Cache::new(s(1))))
        .layer(OrderLayer::serial(last_digit))
        .layer(RetryLayer::new(3))
        .layer(HedgeLayer::after(ms(60)))
        .layer(BreakerLayer::new().keyed(last_digit).max_keys(8))
        .layer(ThrottleLayer::concurrency(6).queue(4))
        .layer(DeadlineLayer::new(ms(150)).named("attempt"))
        .layer(weather)
        .service(service_fn(async |number: u64| Ok::<_, BoxError>(number)));
    let load = Load::new(service).poisson(ms(5)).for_(s(2)).request(|number| number).await;
    assert!(load.served() > 0 && load.unfinished() == 0, "{load}");
}

type Page = Response<Full<Bytes>>;

fn page(status: StatusCode) -> Page {
    let mut page = Page::new(Full::from("page"));
    *page.status_mut() = status;
    page
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of `fail`")]
fn unavailable(fault: InjectedFault) -> Result<Page, Infallible> {
    let mut page = page(StatusCode::SERVICE_UNAVAILABLE);
    if let Some(after) = fault.retry_after {
        page.headers_mut().insert(header::RETRY_AFTER, after.as_secs().into());
    }
    Ok(page)
}

/// All nine layers over HTTP.
async fn http(seed: u64) {
    let path = |request: &Request<Full<Bytes>>| request.uri().path().to_owned();
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::value(page(StatusCode::OK)).http())
        .layer(DeadlineLayer::new(s(2)).http())
        .layer(DedupLayer::new().cache(Cache::from_headers()).http())
        .layer(OrderLayer::serial_per(Authority).http())
        .layer(RetryLayer::new(3).http())
        .layer(HedgeLayer::after(ms(60)).http())
        .layer(BreakerLayer::new().consecutive(2).per(Authority).http())
        .layer(ThrottleLayer::concurrency(6).queue(4).http())
        .layer(DeadlineLayer::new(ms(150)).named("attempt").http())
        .layer(WeatherLayer::new(weather(seed), path, unavailable))
        .service(service_fn(async |_: Request<Full<Bytes>>| {
            let mut page = page(StatusCode::OK);
            let fresh = header::HeaderValue::from_static("max-age=1, stale-if-error=5");
            page.headers_mut().insert(header::CACHE_CONTROL, fresh);
            Ok::<_, Infallible>(page)
        }));
    let load = Load::new(service).poisson(ms(5)).for_(s(2)).call(|service, number| async move {
        let (host, path) = (number % 10, number % 150);
        let request = Request::get(format!("http://host-{host}/{path}"));
        let request = request.body(Full::default()).unwrap_or_default();
        let response = service.oneshot(request).await?;
        response.into_body().collect().await.map(drop)
    });
    let load = load.await;
    assert!(load.served() > 0 && load.unfinished() == 0, "{load}");
}

/// The log names events of all layers that decide something.
fn assert_tells(log: &SimulationLog) {
    for layer in ["fallback.", "deadline.", "dedup.", "retry.", "hedge.", "breaker.", "throttle."] {
        assert!(log.as_str().contains(layer), "no event of {layer}\n{log}");
    }
    assert!(log.as_str().lines().count() > 200, "{log}");
}

#[test]
fn same_seed_gives_the_same_events_of_all_layers_in_plain_mode() {
    assert_reproducible(0..20, plain);
    let ((), log) = simulate(7, async || plain(7).await);
    assert_tells(&log);
    let ((), other) = simulate(8, async || plain(8).await);
    assert!(log.first_difference(&other).is_some());
}

#[test]
fn same_seed_gives_the_same_events_of_all_layers_over_http() {
    assert_reproducible(0..20, http);
    let ((), log) = simulate(7, async || http(7).await);
    assert_tells(&log);
    let ((), other) = simulate(8, async || http(8).await);
    assert!(log.first_difference(&other).is_some());
}

/// The weather is the same, and the layers draw from the thread's generator.
#[test]
fn layers_without_a_seed_draw_from_the_seed_of_the_simulation() {
    let ((), first) = simulate(7, async || plain(7).await);
    let ((), other) = simulate(8, async || plain(7).await);
    assert!(first.first_difference(&other).is_some());
}

/// Neither the number of a thread, nor a recorder on another one, changes a log.
#[test]
fn simulations_on_threads_at_the_same_time_do_not_disturb_each_other() {
    let runs = thread::scope(|threads| {
        let runs = [(); 4].map(|()| threads.spawn(|| simulate(7, async || http(7).await).1));
        runs.map(|run| run.join().ok())
    });
    let [Some(first), others @ ..] = runs else { return assert!(runs[0].is_some()) };
    for other in others {
        assert!(other.is_some_and(|other| first.first_difference(&other).is_none()));
    }
}

/// Neither the seed of a process nor its addresses change a log.
#[test]
fn processes_with_the_same_seed_give_the_same_bytes() {
    if let Some(file) = env::var_os(LOG_FILE) {
        let logs = [simulate(7, async || plain(7).await).1, simulate(7, async || http(7).await).1];
        assert!(fs::write(file, logs.map(|log| log.to_string()).concat()).is_ok());
        return;
    }
    let logs = [1, 2].map(|run| {
        let file = format!("{}/simulation_{run}.log", env!("CARGO_TARGET_TMPDIR"));
        let name = "processes_with_the_same_seed_give_the_same_bytes";
        let mut child = env::current_exe().map(Command::new).unwrap();
        assert!(
            child.args(["--exact", name]).env(LOG_FILE, &file).output().unwrap().status.success()
        );
        fs::read_to_string(file).unwrap()
    });
    assert!(logs[0].lines().count() > 400);
    assert!(logs[0] == logs[1], "see simulation_1.log and simulation_2.log");
}

/// Where the child process writes its log.
const LOG_FILE: &str = "BUTTRESS_SIMULATION_LOG";

/// C12: a date of HTTP is read against the wall clock of the simulation.
#[test]
fn retry_waits_until_the_date_of_the_upstream_in_virtual_time() {
    let (waited, _) = simulate(7, async || {
        let start = Instant::now();
        let service = ServiceBuilder::new().layer(RetryLayer::new(2).http()).service(service_fn(
            move |_: Request<Full<Bytes>>| async move {
                let mut page = page(StatusCode::OK);
                if start.elapsed().is_zero() {
                    *page.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    let date = header::HeaderValue::from_static("Sat, 01 Jan 2000 00:00:20 GMT");
                    page.headers_mut().insert(header::RETRY_AFTER, date);
                }
                Ok::<_, Infallible>(page)
            },
        ));
        let request = Request::get("http://host/").body(Full::<Bytes>::default());
        let response = service.oneshot(request.unwrap_or_default()).await;
        assert!(response.is_ok_and(|response| response.status().is_success()));
        (start.elapsed(), WallClock::now())
    });
    assert!((s(20)..s(31)).contains(&waited.0), "{:?}", waited.0);
    assert_eq!(waited.1, std::time::UNIX_EPOCH + s(946_684_800) + waited.0);
}

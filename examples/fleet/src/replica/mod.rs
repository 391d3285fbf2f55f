//! A replica: a process with a layer of its own, which the parent gives jobs.

mod keys;
mod soak;
mod traffic;
mod watch;

use std::{
    io::{self, BufRead, Write},
    process, thread,
    time::Duration,
};

use buttress::{Rate, Redis, Rejection, ThrottleLayer, throttle::Fleet};
use tokio::{
    runtime::{Builder, Handle},
    sync::mpsc,
    time::{Instant, sleep},
};
use tower::{Layer, service_fn};

use crate::clock::{SharedClock, micros};
use crate::job::{Counts, Job, Report, Traffic};

/// Does the jobs of the parent, one after the other, until the parent ends.
pub(crate) fn serve() -> io::Result<()> {
    let (send, mut jobs) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
        // The parent has ended, by whatever way. Nobody waits for the job.
        process::exit(0);
    });
    let runtime = Builder::new_current_thread().enable_all().build()?;
    while let Some(line) = jobs.blocking_recv() {
        let report = runtime.block_on(run(serde_json::from_str(&line)?))?;
        let mut output = io::stdout().lock();
        serde_json::to_writer(&mut output, &report)?;
        writeln!(output)?;
        output.flush()?;
    }
    Ok(())
}

async fn run(job: Job) -> io::Result<Report> {
    let clock = SharedClock::read();
    let mut report = match &job.traffic {
        Traffic::Keys(keys) => keys::run(&job, keys, clock).await?,
        _ => calls(&job, clock).await?,
    };
    report.tasks_left = tasks_left().await;
    report.clock_stepped = clock.stepped();
    Ok(report)
}

async fn calls(job: &Job, clock: SharedClock) -> io::Result<Report> {
    let redis = Redis::open(&job.url, "fleet").map_err(io::Error::other)?;
    let layer = ThrottleLayer::rate(Rate::per_second(job.rate).burst(job.burst))
        .fleet(Fleet::new(redis.quotas(), job.replicas))
        .named(job.name.clone());
    let handle = layer.handle();
    // The service behind the layer responds with the time at which it was called.
    let start = job.start;
    let service = layer.layer(service_fn(move |()| {
        let time = clock.now().saturating_sub(start);
        async move { Ok::<_, Rejection>(time) }
    }));
    let away = watch::Away::begin(handle.clone(), clock, start);
    let tokens = || handle.tokens();
    let traffic = &job.traffic;
    let done = if let Traffic::Soak { .. } = traffic {
        let service = soak::per_tenant(service, &redis, job.replicas);
        traffic::run(&service, traffic, clock, start, tokens).await
    } else {
        traffic::run(&service, traffic, clock, start, tokens).await
    };
    Ok(Report {
        calls: done.calls,
        held: done.held,
        failed: done.failed,
        slowest: done.slowest,
        away: away.end(micros(traffic.time())).await,
        counts: counts(&handle),
        ..Report::default()
    })
}

fn counts(handle: &watch::Handle) -> Counts {
    let fleet = handle.fleet();
    Counts {
        admitted: handle.admitted(),
        rejected: handle.rejected(),
        trips: fleet.trips,
        expired: fleet.expired,
        away_admitted: fleet.away_admitted,
        debt: fleet.debt,
        losses: fleet.losses,
        errors: fleet.errors.iter().sum(),
        slowest_trip: fleet.trip_time_max,
    }
}

/// Returns the number of tasks that outlive what they serve.
async fn tasks_left() -> usize {
    let end = Instant::now() + Duration::from_secs(5);
    let alive = || Handle::current().metrics().num_alive_tasks();
    while alive() > 0 && Instant::now() < end {
        sleep(Duration::from_millis(5)).await;
    }
    alive()
}

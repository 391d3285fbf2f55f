//! The calls of a replica.

use std::time::Duration;

use buttress::{Reason, Rejection};
use rand::{SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Exp};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tower::{Service, ServiceExt};

use crate::clock::SharedClock;
use crate::job::{Call, Decision, HOARDING, ROUND, Traffic};

/// What the calls of a job yielded.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) calls: Vec<Call>,
    pub(crate) held: Vec<u32>,
    pub(crate) failed: u64,
    pub(crate) slowest: Duration,
}

impl Done {
    fn add(&mut self, call: Call, keeps: bool) {
        self.failed += u64::from(call.2 == Decision::Error);
        self.slowest = self.slowest.max(call.took());
        self.calls.extend(keeps.then_some(call));
    }
}

pub(crate) async fn run<S>(
    service: &S,
    traffic: &Traffic,
    clock: SharedClock,
    start: u64,
    held: impl Fn() -> u32,
) -> Done
where
    S: Service<(), Response = u64, Error = Rejection, Future: Send> + Clone + Send + 'static,
{
    let begin = clock.instant(start);
    let callers = Callers { service, clock, start };
    let mut done = Done::default();
    match traffic {
        Traffic::Open { per_second, time, seed } | Traffic::Soak { per_second, time, seed } => {
            let arrivals = Arrivals::new(*per_second, *seed, begin, *time);
            callers.open(arrivals, matches!(traffic, Traffic::Open { .. }), &mut done).await;
        }
        // A cache gets these calls, not a rate.
        Traffic::Keys(_) => {}
        Traffic::Hoard { per_second, silences, burst, seed } => {
            for (round, silence) in (0..).zip(silences) {
                let begin = begin + ROUND * round;
                let arrivals =
                    Arrivals::new(*per_second, *seed + u64::from(round), begin, HOARDING);
                callers.open(arrivals, true, &mut done).await;
                sleep_until(begin + HOARDING + *silence).await;
                done.held.push(held());
                callers.at_once(*burst, &mut done).await;
            }
        }
    }
    done
}

struct Callers<'a, S> {
    service: &'a S,
    clock: SharedClock,
    start: u64,
}

impl<S> Callers<'_, S>
where
    S: Service<(), Response = u64, Error = Rejection, Future: Send> + Clone + Send + 'static,
{
    /// Makes calls at these times, whatever the state of the others.
    async fn open(&self, arrivals: Arrivals, keeps: bool, done: &mut Done) {
        let mut running = JoinSet::new();
        for arrival in arrivals {
            sleep_until(arrival).await;
            running.spawn(self.call());
            while let Some(Ok(call)) = running.try_join_next() {
                done.add(call, keeps);
            }
        }
        running.join_all().await.into_iter().for_each(|call| done.add(call, keeps));
    }

    async fn at_once(&self, number: u32, done: &mut Done) {
        let mut running = JoinSet::new();
        for _ in 0..number {
            running.spawn(self.call());
        }
        running.join_all().await.into_iter().for_each(|call| done.add(call, true));
    }

    fn call(&self) -> impl Future<Output = Call> + Send + use<S> {
        let (service, clock, start) = (self.service.clone(), self.clock, self.start);
        async move {
            let began = Instant::now();
            let end = service.oneshot(()).await;
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            match end {
                Ok(time) => Call(time, took, Decision::Admitted),
                Err(rejection) => {
                    let is_denied = rejection.reason() == Reason::RateLimited;
                    let decision = if is_denied { Decision::Denied } else { Decision::Error };
                    Call(clock.now().saturating_sub(start), took, decision)
                }
            }
        }
    }
}

/// Times with gaps of exponential length.
struct Arrivals {
    gaps: Option<Exp<f64>>,
    random: SmallRng,
    next: Instant,
    end: Instant,
}

impl Arrivals {
    fn new(per_second: f64, seed: u64, begin: Instant, time: Duration) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { gaps: Exp::new(per_second).ok(), random, next: begin, end: begin + time }
    }
}

impl Iterator for Arrivals {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let gap = self.gaps?.sample(&mut self.random);
        self.next += Duration::try_from_secs_f64(gap).ok()?;
        (self.next < self.end).then_some(self.next)
    }
}

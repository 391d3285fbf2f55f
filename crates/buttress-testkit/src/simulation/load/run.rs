use std::cell::RefCell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

use super::arrivals::{Arrivals, Times};
use super::options::{LoadJudge, MakeCall, Options};
use crate::simulation::context::Simulation;
use crate::simulation::record::{CallOutcome, Record};
use crate::simulation::report::LoadReport;

pub(super) struct Runner<Res, E> {
    pub(super) call: RefCell<MakeCall<Res, E>>,
    pub(super) judge: LoadJudge<Res, E>,
    pub(super) options: Options,
    pub(super) records: RefCell<Vec<Record>>,
}

impl<Res: 'static, E: 'static> Runner<Res, E> {
    /// Runs the load. The calls are tasks of this future, which drops them with itself.
    pub(super) async fn run(self) -> LoadReport {
        let start = Instant::now();
        let runner = Rc::new(self);
        LocalSet::new().run_until(Rc::clone(&runner).calls(start)).await;
        let sent = runner.options.upstream.as_ref().map(|upstream| upstream.since(start));
        let sent = sent.map(|sent| sent.into_iter().map(|call| call - start).collect());
        let records = runner.records.take();
        let seed = Simulation::current().map(|simulation| simulation.seed);
        LoadReport::new(seed, runner.options.length, records, sent)
    }

    async fn calls(self: Rc<Self>, start: Instant) {
        let mut running = JoinSet::new();
        let seed = self.options.seed;
        match self.options.arrivals {
            Arrivals::Every(gap) => self.open(Times::every(gap), start, &mut running).await,
            Arrivals::Poisson(gap) => {
                let times = Times::poisson(gap, seed.unwrap_or_else(|| fastrand::u64(..)));
                self.open(times, start, &mut running).await;
            }
            Arrivals::Callers { callers, think } => {
                for _ in 0..callers {
                    running.spawn_local(Rc::clone(&self).caller(think.max(SHORTEST), start));
                }
                until(start, self.options.length).await;
            }
        }
        let _ = timeout(self.options.drain, joined(&mut running)).await;
    }

    async fn open(self: &Rc<Self>, times: Times, start: Instant, running: &mut JoinSet<()>) {
        for due in times.take_while(|due| *due < self.options.length) {
            until(start, due).await;
            // The clock wakes at a whole millisecond, which may be the end of the load.
            if start.elapsed() >= self.options.length {
                break;
            }
            running.spawn_local(Rc::clone(self).one(start));
            while let Some(ended) = running.try_join_next() {
                resume(ended);
            }
        }
        until(start, self.options.length).await;
    }

    async fn caller(self: Rc<Self>, think: Duration, start: Instant) {
        while start.elapsed() < self.options.length {
            Rc::clone(&self).one(start).await;
            sleep(think).await;
        }
    }

    /// Makes the next call and records its outcome.
    async fn one(self: Rc<Self>, start: Instant) {
        let began = start.elapsed();
        let place = self.begin(began);
        let call = (self.call.borrow_mut())(place as u64);
        let outcome = timeout(self.options.patience, call).await;
        let end = match &outcome {
            Ok(outcome) => CallOutcome::Judged((self.judge)(outcome.as_ref())),
            Err(_) => CallOutcome::Abandoned,
        };
        if let Some(record) = self.records.borrow_mut().get_mut(place) {
            (record.took, record.end) = (start.elapsed().saturating_sub(began), end);
        }
    }

    fn begin(&self, began: Duration) -> usize {
        let mut records = self.records.borrow_mut();
        records.push(Record { began, took: Duration::ZERO, end: CallOutcome::Unfinished });
        records.len() - 1
    }
}

/// Waits until `since` after `start`. A time that no clock reaches does not overflow.
async fn until(start: Instant, since: Duration) {
    sleep(since.saturating_sub(start.elapsed())).await;
}

async fn joined(running: &mut JoinSet<()>) {
    while let Some(ended) = running.join_next().await {
        resume(ended);
    }
}

/// Lets the panic of a call out, so that the test fails.
fn resume(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}

/// The shortest pause of a caller: otherwise a caller whose calls take no time would never let the
/// time move on.
const SHORTEST: Duration = Duration::from_millis(1);

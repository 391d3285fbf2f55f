//! Random steps, compared with a naive map.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use buttress_dedup::DedupLayer;
use buttress_testkit::TestError;
use proptest::{prelude::*, test_runner::Config};
use tokio::{
    sync::oneshot,
    time::{Instant, advance},
};
use tokio_test::task::{self, Spawn};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::support::{Bare, constant, exactly, ms};

const TTL: u64 = 100;
const BACKOFF: u64 = 30;

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(u32),
    /// The oldest call of the key ends.
    Finish(u32, bool),
    /// The youngest call of the key ends.
    FinishLast(u32, bool),
    Leave(usize),
    Advance(u64),
    Forget(u32),
    Clear,
}

fn steps() -> impl Strategy<Value = Step> {
    let key = || 0..3_u32;
    prop_oneof![
        8 => key().prop_map(Step::Get),
        4 => (key(), any::<bool>()).prop_map(|(key, ok)| Step::Finish(key, ok)),
        2 => (key(), any::<bool>()).prop_map(|(key, ok)| Step::FinishLast(key, ok)),
        1 => (0..8_usize).prop_map(Step::Leave),
        4 => (1..70_u64).prop_map(Step::Advance),
        1 => key().prop_map(Step::Forget),
        1 => Just(Step::Clear),
    ]
}

/// The naive version: the entry and the flights of each key.
#[derive(Default)]
struct Model {
    now: u64,
    kept: HashMap<u32, Entry>,
    flights: Vec<Flight>,
    calls: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    value: u32,
    made: u64,
    refresh_from: u64,
}

struct Flight {
    key: u32,
    call: u32,
    spare: Option<Entry>,
    is_refresh: bool,
    is_forgotten: bool,
    callers: usize,
}

/// The result of the first poll of a call.
#[derive(Debug, PartialEq)]
enum Got {
    Value(u32),
    /// The call waits for the load of this number.
    Waits(u32),
}

impl Model {
    fn get(&mut self, key: u32, windows: (u64, u64)) -> Got {
        let entry = self.kept.get(&key).copied();
        let age = entry.map_or(0, |entry| self.now - entry.made);
        let flight =
            self.flights.iter_mut().find(|flight| flight.key == key && !flight.is_forgotten);
        let spare = entry.filter(|_| age < TTL + windows.1);
        match entry {
            Some(entry) if age < TTL => return Got::Value(entry.value),
            Some(entry) if age < TTL + windows.0 => {
                if flight.is_none() && self.now >= entry.refresh_from {
                    self.start(key, Some(entry), true);
                }
                return Got::Value(entry.value);
            }
            _ => {}
        }
        if let Some(flight) = flight {
            flight.callers += 1;
            return Got::Waits(flight.call);
        }
        Got::Waits(self.start(key, spare, false))
    }

    fn start(&mut self, key: u32, spare: Option<Entry>, is_refresh: bool) -> u32 {
        let (call, callers) = (self.calls, usize::from(!is_refresh));
        self.calls += 1;
        self.flights.push(Flight { key, call, spare, is_refresh, is_forgotten: false, callers });
        call
    }

    /// Ends `call`, and returns the outcome that its waiters get.
    fn finish(&mut self, call: u32, ok: bool, windows: (u64, u64)) -> Result<u32, TestError> {
        let place = self.flights.iter().position(|flight| flight.call == call).unwrap();
        let flight = self.flights.remove(place);
        if ok {
            if !flight.is_forgotten {
                let entry = Entry { value: call, made: self.now, refresh_from: 0 };
                self.kept.insert(flight.key, entry);
            }
            return Ok(call);
        }
        if flight.is_refresh && !flight.is_forgotten {
            self.kept.get_mut(&flight.key).unwrap().refresh_from = self.now + BACKOFF;
        }
        let spare = flight.spare.filter(|spare| self.now - spare.made < TTL + windows.1);
        spare.map_or(Err(TestError::Failed), |spare| Ok(spare.value))
    }

    fn leave(&mut self, call: u32) {
        let flight = self.flights.iter_mut().find(|flight| flight.call == call).unwrap();
        flight.callers -= 1;
        if flight.callers == 0 && !flight.is_refresh {
            self.flights.retain(|flight| flight.call != call);
        }
    }

    fn forget(&mut self, of: impl Fn(u32) -> bool) {
        self.kept.retain(|key, _| !of(*key));
        let forgotten = self.flights.iter_mut().filter(|flight| of(flight.key));
        forgotten.for_each(|flight| flight.is_forgotten = true);
    }
}

/// A service whose calls end on command. Each responds with its number.
#[derive(Clone, Default)]
struct Hand {
    calls: Arc<Mutex<Vec<Option<oneshot::Sender<bool>>>>>,
}

impl Hand {
    fn service(&self) -> Bare {
        let hand = self.clone();
        BoxCloneSyncService::new(service_fn(move |_: u32| {
            let (end, ended) = oneshot::channel();
            let mut calls = hand.calls.lock().unwrap();
            let number = u32::try_from(calls.len()).unwrap();
            calls.push(Some(end));
            async move { if ended.await.unwrap() { Ok(number) } else { Err(TestError::Failed) } }
        }))
    }

    fn calls(&self) -> u32 {
        u32::try_from(self.calls.lock().unwrap().len()).unwrap()
    }

    fn end(&self, call: u32, ok: bool) {
        let end = self.calls.lock().unwrap().get_mut(call as usize).and_then(Option::take);
        end.unwrap().send(ok).unwrap();
    }
}

type Call = Spawn<Pin<Box<dyn Future<Output = Result<u32, TestError>>>>>;

struct Trial {
    model: Model,
    windows: (u64, u64),
    hand: Hand,
    service: Bare,
    waiting: Vec<(u32, Call)>,
}

impl Trial {
    async fn step(&mut self, step: Step, handle: &buttress_dedup::DedupHandle) {
        match step {
            Step::Get(key) => {
                let mut call: Call = task::spawn(Box::pin(self.service.clone().oneshot(key)));
                let polled = call.poll();
                match self.model.get(key, self.windows) {
                    Got::Value(value) => assert_eq!(polled, Poll::Ready(Ok(value))),
                    Got::Waits(number) => {
                        assert!(polled.is_pending(), "{polled:?} instead of waiting for {number}");
                        self.waiting.push((number, call));
                    }
                }
            }
            Step::Finish(key, ok) => self.finish(self.flights(key).first().copied(), ok).await,
            Step::FinishLast(key, ok) => self.finish(self.flights(key).last().copied(), ok).await,
            Step::Leave(n) => {
                if n < self.waiting.len() {
                    let (number, call) = self.waiting.remove(n);
                    drop(call);
                    self.model.leave(number);
                }
            }
            Step::Advance(millis) => {
                advance(ms(millis)).await;
                self.model.now += millis;
            }
            Step::Forget(key) => {
                handle.invalidate(&key);
                self.model.forget(|other| other == key);
            }
            Step::Clear => {
                handle.invalidate_all();
                self.model.forget(|_| true);
            }
        }
        background().await;
        assert_eq!(self.hand.calls(), self.model.calls, "loads");
        let aloft = self.model.flights.iter().filter(|flight| !flight.is_forgotten).count();
        assert_eq!(handle.in_flight(), aloft);
    }

    fn flights(&self, key: u32) -> Vec<u32> {
        let of = self.model.flights.iter().filter(|flight| flight.key == key);
        of.map(|flight| flight.call).collect()
    }

    async fn finish(&mut self, call: Option<u32>, ok: bool) {
        let Some(number) = call else { return };
        self.hand.end(number, ok);
        background().await;
        let expected = self.model.finish(number, ok, self.windows);
        // Polls woken calls only, as an executor does.
        let is_next = |(waited, call): &(u32, Call)| *waited == number && call.is_woken();
        while let Some(place) = self.waiting.iter().position(is_next) {
            let (_, call) = self.waiting.get_mut(place).unwrap();
            if let Poll::Ready(outcome) = call.poll() {
                assert_eq!(outcome, expected);
                drop(self.waiting.remove(place));
            }
        }
        assert!(self.waiting.iter().all(|(waited, _)| *waited != number), "a caller hangs");
    }
}

/// Runs the refreshes as far as they can go.
async fn background() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
}

async fn run(steps: Vec<Step>, windows: (u64, u64)) {
    let hand = Hand::default();
    let cache = exactly(ms(TTL))
        .stale_while_revalidate(ms(windows.0))
        .stale_if_error(ms(windows.1))
        .refresh_backoff(constant(ms(BACKOFF)))
        .refresh_timeout(Duration::from_secs(1_000_000));
    let layer = DedupLayer::new().cache(cache).share_errors();
    let handle = layer.handle();
    let service = BoxCloneSyncService::new(tower::Layer::layer(&layer, hand.service()));
    let model = Model::default();
    let mut trial = Trial { model, windows, hand, service, waiting: Vec::new() };
    let started = Instant::now();
    for step in steps {
        trial.step(step, &handle).await;
        assert_eq!(started.elapsed(), ms(trial.model.now));
    }
    // All flights end.
    while let Some(flight) = trial.model.flights.first() {
        let call = flight.call;
        trial.finish(Some(call), false).await;
    }
    assert!(trial.waiting.is_empty());
    background().await;
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.waiters(), 0);
}

proptest! {
    #![proptest_config(Config { cases: 1_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn cache_matches_a_naive_map_in_values_and_loads(
        steps in prop::collection::vec(steps(), 0..80),
        while_revalidate in prop_oneof![Just(0_u64), Just(50), Just(150)],
        if_error in prop_oneof![Just(0_u64), Just(100), Just(300)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps, (while_revalidate, if_error)));
    }
}

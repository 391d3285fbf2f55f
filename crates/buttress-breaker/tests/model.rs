//! The layer and a naive model over the bare law, step by step: the same admissions, states and numbers.

#![expect(clippy::unwrap_used, reason = "the model may panic as the test may")]

use std::{collections::VecDeque, time::Duration};

use buttress_breaker::{BreakerHandle, BreakerLayer, CircuitState, Isolation, Ratio};
use buttress_control::{
    Circuit, CircuitHost, CircuitOutcome, CircuitPass, CircuitRules, Nanos, Random,
};
use buttress_core::{Attempt, Deadline, Reason, Rejection, RetryHint, Verdict};
use proptest::prelude::*;
use tokio::{
    sync::oneshot,
    time::{Instant, advance},
};
use tokio_test::task;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};

#[derive(Clone, Debug)]
enum Step {
    /// A call begins, under a deadline in this many milliseconds.
    Start {
        is_spare: bool,
        deadline: Option<u64>,
    },
    /// The oldest call in flight ends.
    End(Verdict),
    /// The latest call in flight is dropped.
    Drop,
    Wait(u64),
    Open,
    Close,
    Disable,
    Isolate,
    EndIsolation,
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        6 => Just(Verdict::Success),
        1 => Just(Verdict::Permanent),
        5 => Just(Verdict::Transient),
        1 => Just(Verdict::TimedOut),
        1 => Just(Verdict::Expired),
        1 => Just(Verdict::Unknown),
        1 => Just(Verdict::Throttled(Some(RetryHint::After(Duration::from_secs(3))))),
        1 => Just(Verdict::rejected("pool", Reason::Overloaded, None)),
        1 => Just(Verdict::rejected("dedup", Reason::Panicked, None)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let start = (proptest::bool::weighted(0.2), proptest::option::of(1..50_u64))
        .prop_map(|(is_spare, deadline)| Step::Start { is_spare, deadline });
    prop_oneof![
        20 => start,
        20 => verdict().prop_map(Step::End),
        4 => Just(Step::Drop),
        8 => (0..1500_u64).prop_map(Step::Wait),
        1 => Just(Step::Open),
        1 => Just(Step::Close),
        1 => Just(Step::Disable),
        1 => Just(Step::Isolate),
        2 => Just(Step::EndIsolation),
    ]
}

/// The model: a verdict table, and a drop rule.
struct Model {
    circuit: Circuit,
    host: Host,
}

struct Host {
    start: Instant,
    random: Random,
}

impl CircuitHost for Host {
    fn now(&self) -> Nanos {
        Nanos::from(self.start.elapsed())
    }

    fn draw(&self) -> f64 {
        self.random.draw()
    }
}

const fn outcome(verdict: Verdict) -> CircuitOutcome {
    match verdict {
        Verdict::Success | Verdict::Permanent => CircuitOutcome::Success,
        Verdict::Throttled(Some(RetryHint::After(delay))) => CircuitOutcome::Shed(Some(delay)),
        Verdict::Rejected { reason: Reason::Overloaded, .. } => CircuitOutcome::Neutral,
        _ => CircuitOutcome::Failure,
    }
}

type Upstream = BoxCloneService<oneshot::Receiver<Verdict>, (), Error>;

#[derive(Debug)]
enum Error {
    Judged(Verdict),
    Rejected(Rejection),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

fn judge(outcome: Result<&(), &Error>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Success,
        Err(Error::Judged(verdict)) => *verdict,
        Err(Error::Rejected(rejection)) => Verdict::from_rejection(rejection),
    }
}

async fn reply(verdict: oneshot::Receiver<Verdict>) -> Result<(), Error> {
    match verdict.await {
        Ok(Verdict::Success) => Ok(()),
        Ok(verdict) => Err(Error::Judged(verdict)),
        Err(_) => std::future::pending().await,
    }
}

type Call = task::Spawn<std::pin::Pin<Box<dyn Future<Output = Result<(), Error>>>>>;

/// A call in flight, on both sides.
struct InFlight {
    call: Call,
    reply: oneshot::Sender<Verdict>,
    pass: Option<CircuitPass>,
    deadline: Option<Deadline>,
}

async fn run(rules: CircuitRules, layer: BreakerLayer, steps: Vec<Step>) {
    let (handle, upstream): (_, Upstream) = (layer.handle(), service_fn(reply).boxed_clone());
    let service = layer.classify(judge as fn(Result<&(), &Error>) -> Verdict).layer(upstream);
    let host = Host { start: Instant::now(), random: Random::seeded(7) };
    let model = Model { circuit: Circuit::new(rules), host };
    let (mut calls, mut isolations) = (VecDeque::new(), Vec::new());
    for (number, step) in steps.into_iter().enumerate() {
        let context = format!("step {number}: {step:?}");
        match step {
            Step::Start { is_spare, deadline } => {
                let deadline = deadline.map(|ms| Deadline::after(Duration::from_millis(ms)));
                let (reply, verdict) = oneshot::channel();
                let call: std::pin::Pin<Box<dyn Future<Output = _>>> =
                    Box::pin(service.clone().oneshot(verdict));
                let mut call = task::spawn(call);
                let attempt = if is_spare { Attempt::FIRST.spare() } else { Attempt::FIRST };
                let polled = attempt.with(|| Deadline::with(deadline, || call.poll()));
                match (polled, model.circuit.admit(is_spare, &model.host)) {
                    (std::task::Poll::Pending, Ok(pass)) => {
                        calls.push_back(InFlight { call, reply, pass, deadline });
                    }
                    (std::task::Poll::Ready(Err(Error::Rejected(rejection))), Err(open)) => {
                        assert_eq!(rejection.retry_after(), open.retry_after, "{context}");
                    }
                    (polled, modelled) => unreachable!("{context}: {polled:?}, {modelled:?}"),
                }
            }
            Step::End(verdict) => {
                let Some(InFlight { mut call, reply, pass, .. }) = calls.pop_front() else {
                    continue;
                };
                reply.send(verdict).unwrap();
                assert!(call.poll().is_ready(), "{context}");
                if let Some(pass) = pass {
                    model.circuit.settle(pass, outcome(verdict), false, &model.host);
                }
            }
            Step::Drop => {
                let Some(InFlight { call, pass, deadline, .. }) = calls.pop_back() else {
                    continue;
                };
                drop(call);
                let is_late = deadline.is_some_and(Deadline::has_passed);
                let outcome =
                    if is_late { CircuitOutcome::Failure } else { CircuitOutcome::Neutral };
                if let Some(pass) = pass {
                    model.circuit.settle(pass, outcome, false, &model.host);
                }
            }
            Step::Wait(millis) => advance(Duration::from_millis(millis)).await,
            by_hand => set(&by_hand, &handle, &model, &mut isolations),
        }
        assert_eq!(handle.state(), model.circuit.state(), "{context}");
        assert_eq!(handle.counts(), model.circuit.counts(model.host.now()), "{context}");
        assert_eq!(handle.opened(), model.circuit.opened(), "{context}");
    }
}

fn set(step: &Step, handle: &BreakerHandle, model: &Model, isolations: &mut Vec<Isolation>) {
    let (circuit, host) = (&model.circuit, &model.host);
    match step {
        Step::Open => {
            handle.open();
            circuit.open(host);
        }
        Step::Close => {
            handle.close();
            circuit.close(host);
        }
        Step::Disable => {
            handle.disable();
            circuit.disable(host);
        }
        Step::Isolate => {
            isolations.push(handle.isolate());
            circuit.isolate(host);
            assert_eq!(handle.state(), CircuitState::Isolated);
        }
        _ => {
            if isolations.pop().is_some() {
                circuit.end_isolation(host);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn layer_agrees_with_the_model_on_every_step(
        steps in proptest::collection::vec(step(), 1..200),
        minimum in 1..10_u32,
        consecutive in 1..6_u32,
    ) {
        let rules = CircuitRules::new()
            .failures(Ratio::percent(50), minimum)
            .consecutive(consecutive);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let layer = BreakerLayer::new()
                .failures(Ratio::percent(50), minimum)
                .consecutive(consecutive)
                .seed(7);
            run(rules, layer, steps).await;
        });
    }
}

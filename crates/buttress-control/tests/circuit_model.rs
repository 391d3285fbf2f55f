//! The circuit breaker beside a model that keeps every outcome: random verdicts, drops, times and hands.
#![cfg(not(buttress_loom))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the model may panic as the test may"
)]

use std::{cell::Cell, time::Duration};

use buttress_control::{
    Backoff, Circuit, CircuitHost, CircuitOutcome, CircuitPass, CircuitRules, CircuitState, Jitter,
    Nanos, Ratio,
};
use proptest::{collection::vec, prelude::*};

/// A step, with times in whole slots of the window: a second.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    /// The oldest call that is in flight.
    Settle(CircuitOutcome),
    /// The latest one.
    SettleLatest(CircuitOutcome),
    Wait(u64),
    Open,
    Close,
    Disable,
    Isolate,
    EndIsolation,
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    state: State,
    generation: u32,
    /// The second of each outcome, and whether it was a failure.
    outcomes: Vec<(u64, bool)>,
    run: usize,
    openings: u64,
    probes: Vec<(u32, u64)>,
    numbers: u32,
    /// Successes and failures of the probes.
    decided: [usize; 2],
    isolations: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    OpenUntil(u64),
    HalfOpen,
    Disabled,
    Isolated,
}

/// The generation and the number of a probe.
type Pass = (u32, u32);

impl Model {
    fn turn(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
        self.probes.clear();
        self.decided = [0, 0];
    }

    fn trip(&mut self) {
        self.openings += 1;
        self.turn(State::OpenUntil(self.now + self.openings.min(LONGEST)));
    }

    fn reset(&mut self, state: State) {
        self.turn(state);
        (self.outcomes, self.run, self.openings) = (Vec::new(), 0, 0);
    }

    fn ask(&mut self) -> Result<Option<Pass>, ()> {
        match self.state {
            State::OpenUntil(until) if self.now >= until => {
                self.turn(State::HalfOpen);
                (self.outcomes, self.run) = (Vec::new(), 0);
            }
            State::HalfOpen => self.lapse(),
            _ => {}
        }
        match self.state {
            State::Closed => Ok(Some((self.generation, 0))),
            State::Disabled => Ok(None),
            State::HalfOpen if self.probes.len() + self.decided[0] + self.decided[1] < PROBES => {
                self.numbers += 1;
                self.probes.push((self.numbers, self.now));
                Ok(Some((self.generation, self.numbers)))
            }
            _ => Err(()),
        }
    }

    fn lapse(&mut self) {
        let (alive, lapsed) =
            self.probes.iter().partition(|(_, since)| self.now < since + PATIENCE);
        self.probes = alive;
        let lapsed: Vec<(u32, u64)> = lapsed;
        self.decided[1] += lapsed.len();
        self.judge_probes();
    }

    fn settle(&mut self, (generation, number): Pass, outcome: CircuitOutcome) {
        if generation != self.generation {
            return;
        }
        if self.state == State::HalfOpen {
            self.lapse();
        }
        if generation != self.generation {
            return;
        }
        if self.state == State::HalfOpen {
            let there = self.probes.len();
            self.probes.retain(|(probe, _)| *probe != number);
            if there == self.probes.len() {
                return;
            }
        }
        let failed = match outcome {
            CircuitOutcome::Neutral => return,
            outcome => outcome != CircuitOutcome::Success,
        };
        self.outcomes.push((self.now, failed));
        match outcome {
            CircuitOutcome::Success => self.run = 0,
            CircuitOutcome::Failure => self.run += 1,
            _ => {}
        }
        if self.state == State::HalfOpen {
            self.decided[usize::from(failed)] += 1;
            return self.judge_probes();
        }
        let (calls, failures) = self.counts();
        let by_ratio = failures > 0 && calls >= MINIMUM && 2 * failures >= calls;
        let by_run = self.run >= RUN && (calls < MINIMUM || self.run >= MINIMUM);
        if by_ratio || by_run {
            self.trip();
        }
    }

    fn judge_probes(&mut self) {
        if self.decided[0] >= NEEDED {
            self.turn(State::Closed);
            self.openings = 0;
        } else if self.decided[1] > PROBES - NEEDED {
            self.trip();
        }
    }

    /// The calls and the failures of the last 32 seconds.
    fn counts(&self) -> (usize, usize) {
        let live = self.outcomes.iter().filter(|(second, _)| second + WINDOW > self.now);
        live.fold((0, 0), |(calls, failures), (_, failed)| {
            (calls + 1, failures + usize::from(*failed))
        })
    }

    fn set(&mut self, change: impl FnOnce(&mut Self)) {
        if self.isolations == 0 {
            change(self);
        }
    }

    fn name(&self) -> CircuitState {
        match self.state {
            State::Closed => CircuitState::Closed,
            State::OpenUntil(_) => CircuitState::Open,
            State::HalfOpen => CircuitState::HalfOpen,
            State::Disabled => CircuitState::Disabled,
            State::Isolated => CircuitState::Isolated,
        }
    }
}

struct Host(Cell<u64>);

impl CircuitHost for Host {
    fn now(&self) -> Nanos {
        Nanos::from(Duration::from_secs(self.0.get()))
    }

    fn draw(&self) -> f64 {
        0.0
    }
}

fn rules() -> CircuitRules {
    let second = Duration::from_secs(1);
    let longest = Duration::from_secs(LONGEST);
    CircuitRules::new()
        .failures(Ratio::percent(50), u32::try_from(MINIMUM).unwrap())
        .consecutive(u32::try_from(RUN).unwrap())
        .window(Duration::from_secs(WINDOW))
        .open_for(Backoff::linear(second, longest).jitter(Jitter::None))
        .probes(u32::try_from(PROBES).unwrap(), u32::try_from(NEEDED).unwrap())
        .ramp(second, &[])
        .probe_patience(Duration::from_secs(PATIENCE))
}

fn outcomes() -> impl Strategy<Value = CircuitOutcome> {
    prop_oneof![
        4 => Just(CircuitOutcome::Success),
        4 => Just(CircuitOutcome::Failure),
        1 => Just(CircuitOutcome::Shed(None)),
        1 => Just(CircuitOutcome::Neutral),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Ask),
        4 => outcomes().prop_map(Step::Settle),
        4 => outcomes().prop_map(Step::SettleLatest),
        // Fewer than sixteen calls come in a second, so each success is dated by itself.
        4 => (1_u64..4).prop_map(Step::Wait),
        1 => (10_u64..50).prop_map(Step::Wait),
        1 => prop_oneof![
            Just(Step::Open),
            Just(Step::Close),
            Just(Step::Disable),
            Just(Step::Isolate),
            Just(Step::EndIsolation),
        ],
    ]
}

fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let (circuit, host) = (Circuit::new(rules()), Host(Cell::new(1000)));
    let mut model = Model { now: 1000, ..Model::default() };
    let mut calls: Vec<(CircuitPass, Pass)> = Vec::new();
    let mut in_this_second = 0;
    for step in steps {
        match *step {
            Step::Ask => {
                let (real, expected) = (circuit.admit(false, &host), model.ask());
                match (real, expected) {
                    (Ok(Some(pass)), Ok(Some(expected))) => calls.push((pass, expected)),
                    (Ok(None), Ok(None)) | (Err(_), Err(())) => {}
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            Step::Settle(outcome) | Step::SettleLatest(outcome) if !calls.is_empty() => {
                let is_oldest = matches!(step, Step::Settle(_));
                let call = if is_oldest { 0 } else { calls.len() - 1 };
                let (pass, expected) = calls.remove(call);
                in_this_second += 1;
                if in_this_second < 15 {
                    circuit.settle(pass, outcome, false, &host);
                    model.settle(expected, outcome);
                }
            }
            Step::Settle(_) | Step::SettleLatest(_) => {}
            Step::Wait(seconds) => {
                in_this_second = 0;
                host.0.set(host.0.get() + seconds);
                model.now += seconds;
            }
            Step::Open => {
                circuit.open(&host);
                model.set(Model::trip);
            }
            Step::Close => {
                circuit.close(&host);
                model.set(|model| model.reset(State::Closed));
            }
            Step::Disable => {
                circuit.disable(&host);
                model.set(|model| model.reset(State::Disabled));
            }
            Step::Isolate => {
                circuit.isolate(&host);
                model.set(|model| model.reset(State::Isolated));
                model.isolations += 1;
            }
            Step::EndIsolation => {
                circuit.end_isolation(&host);
                if model.isolations == 1 {
                    model.reset(State::Closed);
                }
                model.isolations = model.isolations.saturating_sub(1);
            }
        }
        prop_assert_eq!(circuit.state(), model.name());
        let counts = circuit.counts(host.now());
        let (expected, failures) = model.counts();
        prop_assert_eq!((counts.calls, counts.failures), (expected as u64, failures as u64));
    }
    Ok(())
}

proptest! {
    #[test]
    fn circuit_does_as_the_model(steps in vec(steps(), 1..400)) {
        run(&steps)?;
    }
}

const WINDOW: u64 = 32;
const MINIMUM: usize = 8;
const RUN: usize = 4;
const PROBES: usize = 3;
const NEEDED: usize = 2;
const PATIENCE: u64 = 20;
const LONGEST: u64 = 4;

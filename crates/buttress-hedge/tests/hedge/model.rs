//! Random calls, against a model that plays them event by event.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use buttress_core::BoxError;
use buttress_hedge::HedgeLayer;
use proptest::prelude::*;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{MS, SECOND, by_text, tokens};

/// The end of a try, after a time in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Act {
    takes: u64,
    end: &'static str,
}

/// The text of an outcome: that of the try with this number.
fn outcome(place: usize, act: Act) -> String {
    if act.end == "answer" { format!("answer {place}") } else { act.end.to_owned() }
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    delay: u64,
    at_most: u32,
    after_failures: bool,
    tokens: u32,
}

#[derive(Debug, PartialEq)]
struct Ended {
    at: u64,
    outcome: String,
    sent: Vec<u64>,
}

/// A call as the crate docs describe it.
struct Model<'a> {
    rules: Rules,
    acts: &'a [Act],
    sent: Vec<u64>,
    /// The tries in flight, by the time of their end.
    running: BTreeSet<(u64, usize)>,
    /// The time of the next hedge. `None` once the hedging is over, or while none is scheduled.
    due: Option<u64>,
    is_open: bool,
}

impl Model<'_> {
    fn act(&self, place: usize) -> Act {
        self.acts.get(place).copied().unwrap_or(Act { takes: 50, end: "answer" })
    }

    /// Plays the call. `None` if two tries end at the same instant.
    fn play(mut self) -> Option<Ended> {
        self.sent.push(0);
        self.running.insert((self.act(0).takes, 0));
        self.is_open = self.rules.at_most > 0;
        self.due = self.is_open.then_some(self.rules.delay);
        loop {
            // An end at the instant of a hedge comes first.
            let end = self.running.first().copied();
            if let Some((at, place)) = end.filter(|(at, _)| self.due.is_none_or(|due| *at <= due)) {
                self.running.pop_first();
                if self.running.first().is_some_and(|(other, _)| *other == at) {
                    return None;
                }
                if self.wins(place) || !self.goes_on(at, place) {
                    let place = if self.wins(place) { place } else { 0 };
                    let outcome = outcome(place, self.act(place));
                    return Some(Ended { at, outcome, sent: self.sent });
                }
            } else {
                let at = self.due?;
                self.hedge(at);
                if self.running.is_empty() {
                    return Some(Ended { at, outcome: outcome(0, self.act(0)), sent: self.sent });
                }
            }
        }
    }

    fn wins(&self, place: usize) -> bool {
        matches!(self.act(place).end, "answer" | "permanent")
    }

    /// Whether the call goes on after a failure.
    fn goes_on(&mut self, at: u64, place: usize) -> bool {
        let end = self.act(place).end;
        let is_alone = place == 0 && self.sent.len() == 1;
        let is_hedged = self.rules.after_failures && self.is_open && end != "expired";
        if is_alone && !is_hedged {
            return false;
        }
        match end {
            _ if !self.is_open => {}
            "after 300 ms" => self.due = Some(at + 300),
            "throttled" => (self.is_open, self.due) = (false, None),
            "failed" if self.rules.after_failures => self.due = Some(at),
            "expired" if self.running.is_empty() => (self.is_open, self.due) = (false, None),
            _ => {}
        }
        !self.running.is_empty() || (self.rules.after_failures && self.due.is_some())
    }

    fn hedge(&mut self, at: u64) {
        let used = self.sent.len() as u64 - 1;
        if used == u64::from(self.rules.tokens) {
            (self.is_open, self.due) = (false, None);
            return;
        }
        let place = self.sent.len();
        self.sent.push(at);
        self.running.insert((at + self.act(place).takes, place));
        self.is_open = used + 1 < u64::from(self.rules.at_most);
        self.due = self.is_open.then_some(at + self.rules.delay);
    }
}

/// Makes the call, and checks the budget.
async fn call(rules: Rules, acts: Vec<Act>) -> Ended {
    let start = Instant::now();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&sent);
    let service = service_fn(move |_: u32| {
        let mut sent = log.lock().unwrap();
        let place = sent.len();
        sent.push(u64::try_from(start.elapsed().as_millis()).unwrap());
        let act = acts.get(place).copied().unwrap_or(Act { takes: 50, end: "answer" });
        async move {
            sleep(MS * u32::try_from(act.takes).unwrap()).await;
            match act.end {
                "answer" => Ok(u32::try_from(place).unwrap()),
                end => Err(BoxError::from(end)),
            }
        }
    });
    let budget = tokens(rules.tokens);
    let mut layer = HedgeLayer::after(MS * u32::try_from(rules.delay).unwrap())
        .at_most(rules.at_most)
        .budget(budget.clone());
    if rules.after_failures {
        layer = layer.after_failures();
    }
    let ended = timeout(3600 * SECOND, layer.clone().classify(by_text).layer(service).oneshot(1));
    let outcome = match ended.await.unwrap() {
        Ok(place) => format!("answer {place}"),
        Err(error) => error.to_string(),
    };
    let sent = Arc::try_unwrap(sent).unwrap().into_inner().unwrap();
    let hedges = sent.len() as u64 - 1;
    assert_eq!(layer.handle().sent(), hedges);
    Ended { at: u64::try_from(start.elapsed().as_millis()).unwrap(), outcome, sent }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let ends = ["answer", "permanent", "failed", "failed", "expired", "throttled", "after 300 ms"];
    let act = (1..400_u64, prop::sample::select(ends.to_vec()));
    prop::collection::vec(act.prop_map(|(takes, end)| Act { takes, end }), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 10_000, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn call_ends_as_the_model_does(
        acts in acts(),
        delay in 1..150_u64,
        at_most in 0..5_u32,
        after_failures: bool,
        tokens in 0..6_u32,
    ) {
        let rules = Rules { delay, at_most, after_failures, tokens };
        let model = Model {
            rules,
            acts: &acts,
            sent: Vec::new(),
            running: BTreeSet::new(),
            due: None,
            is_open: false,
        };
        let expected = model.play();
        prop_assume!(expected.is_some());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let ended = runtime.block_on(call(rules, acts.clone()));
        prop_assert_eq!(Some(ended), expected);
    }
}

//! Signals against a model: raised, watched, reported and lost in panics, at any depth.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use buttress_core::{Attempt, Deadline, InnerReport, SharedCount, Signals, Spent};
use proptest::prelude::*;
use tokio::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Step {
    GaveUp,
    Degraded,
    Ended(u64),
    Spent(u16, u16),
    /// A layer that shares a count, and raises the signals of the layers inside again or not.
    Layer(Vec<Step>, bool),
    Watch(Vec<Step>),
    /// Panics that are caught here.
    Catch(Vec<Step>),
    Panic,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = prop_oneof![
        Just(Step::GaveUp),
        Just(Step::Degraded),
        (1..5_u64).prop_map(Step::Ended),
        (0..3_u16, 0..3_u16).prop_map(|(retries, hedges)| Step::Spent(retries, hedges)),
        Just(Step::Panic),
    ];
    let step = leaf.prop_recursive(6, 48, 5, |inner| {
        let inner = prop::collection::vec(inner, 0..5);
        prop_oneof![
            (inner.clone(), any::<bool>()).prop_map(|(steps, again)| Step::Layer(steps, again)),
            inner.clone().prop_map(Step::Watch),
            inner.prop_map(Step::Catch),
        ]
    });
    prop::collection::vec(step, 0..6)
}

struct Panicked;

/// The signals that the layer outside sees, and those that `returned` collects, by the docs alone.
fn model(
    steps: &[Step],
    at: Instant,
    depth: usize,
    seen: &mut Signals,
    returned: &mut Vec<Signals>,
) -> Result<(), Panicked> {
    for step in steps {
        match step {
            Step::GaveUp => seen.gave_up = true,
            Step::Degraded => seen.degraded = true,
            Step::Ended(secs) if depth < 16 => {
                seen.deadline = seen.deadline.max(Some(deadline(at, *secs)));
            }
            Step::Spent(retries, hedges) if depth < 16 => {
                seen.spent = seen.spent.plus(Spent::new(*retries, *hedges));
            }
            Step::Ended(_) | Step::Spent(..) => {}
            Step::Layer(steps, again) => {
                let mut inside = Signals::default();
                model(steps, at, depth + 1, &mut inside, returned)?;
                returned.push(inside);
                if *again {
                    add(seen, inside, depth);
                }
            }
            Step::Watch(steps) => {
                let mut inside = Signals::default();
                model(steps, at, depth, &mut inside, returned)?;
                returned.push(inside);
            }
            Step::Catch(steps) => drop(model(steps, at, depth, seen, returned)),
            Step::Panic => return Err(Panicked),
        }
    }
    Ok(())
}

fn add(seen: &mut Signals, more: Signals, depth: usize) {
    seen.gave_up |= more.gave_up;
    seen.degraded |= more.degraded;
    if depth < 16 {
        seen.deadline = seen.deadline.max(more.deadline);
        seen.spent = seen.spent.plus(more.spent);
    }
}

fn deadline(at: Instant, secs: u64) -> Deadline {
    Deadline::at(at + Duration::from_secs(secs))
}

fn run(steps: &[Step], at: Instant, returned: &RefCell<Vec<Signals>>) {
    let inner = |steps: &[Step]| run(steps, at, returned);
    for step in steps {
        match step {
            Step::GaveUp => Signals::raise_gave_up(),
            Step::Degraded => Signals::raise_degraded(),
            Step::Ended(secs) => Signals::raise_deadline(deadline(at, *secs)),
            Step::Spent(retries, hedges) => Signals::raise_spent(Spent::new(*retries, *hedges)),
            Step::Layer(steps, again) => {
                let mut report = InnerReport::EMPTY;
                SharedCount::new().run_and_report(Attempt::FIRST, &mut report, || inner(steps));
                let signals = report.signals();
                returned.borrow_mut().push(signals);
                if *again {
                    signals.raise();
                }
            }
            Step::Watch(steps) => {
                let ((), signals) = Signals::watch(|| inner(steps));
                returned.borrow_mut().push(signals);
            }
            Step::Catch(steps) => drop(catch_unwind(AssertUnwindSafe(|| inner(steps)))),
            Step::Panic => resume_unwind(Box::new(())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn layer_outside_sees_the_signals_of_the_model(steps in steps(), around in 0..20_usize) {
        let at = Instant::now();
        let (returned, mut expected_returns) = (RefCell::default(), Vec::new());
        let nested = (0..around).fold(steps, |steps, _| vec![Step::Layer(steps, true)]);
        let mut expected = Signals::default();
        let _ = model(&nested, at, 0, &mut expected, &mut expected_returns);
        let ((), seen) = Signals::watch(|| {
            let _ = catch_unwind(AssertUnwindSafe(|| run(&nested, at, &returned)));
        });
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(returned.into_inner(), expected_returns);
        let ((), left) = Signals::watch(|| ());
        prop_assert!(left.is_empty());
    }
}

//! The cost of one more call beside others, for every kind of state that grows with the calls.

mod cases;
mod crowd;

use std::fmt;

pub use cases::growths;

use crate::{callgrind, enter_runtime};

/// One more call beside a number of others.
pub struct Growth {
    others: &'static str,
    call: &'static str,
    open: Box<dyn Fn(u64) -> Box<dyn FnMut()>>,
}

impl Growth {
    /// `open` sets up a number of `others` and returns a function that makes one more `call`.
    fn new<C: FnMut() + 'static>(
        others: &'static str,
        call: &'static str,
        open: impl Fn(u64) -> C + 'static,
    ) -> Self {
        Self { others, call, open: Box::new(move |others| Box::new(open(others))) }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.others, self.call)
    }
}

impl fmt::Debug for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Growth({self})")
    }
}

/// If the bench started this process under callgrind, makes the requested calls and returns `true`.
pub fn run_requested_growth(growths: &[Growth]) -> bool {
    let Some(requested) = callgrind::requested() else { return false };
    let Some((others, name)) = requested.split_once(' ') else { return true };
    let growth = growths.iter().find(|growth| growth.to_string() == name);
    if let (Some(growth), Ok(others)) = (growth, others.parse()) {
        let runtime = enter_runtime();
        let _entered = runtime.enter();
        let mut one_more = (growth.open)(others);
        (0..WARM_UP).for_each(|_| one_more());
        callgrind::counted_run(&mut || (0..CALLS).for_each(|_| one_more()));
    }
    true
}

/// Prints the instructions per call of all `growths` as a Markdown table.
pub fn print_growth(growths: &[Growth]) {
    println!("| beside | one more call | 1 | 100 | 10,000 | 100,000 |");
    println!("|---|---|--:|--:|--:|--:|");
    for growth in growths {
        let counts = OTHERS.map(|others| callgrind::count(&format!("{others} {growth}")));
        let [Some(one), Some(hundred), Some(ten_thousand), Some(hundred_thousand)] =
            counts.map(|count| Some((count? + CALLS / 2) / CALLS))
        else {
            println!("\nvalgrind is not installed, so instructions are not counted.");
            return;
        };
        let Growth { others, call, .. } = growth;
        println!("| {others} | {call} | {one} | {hundred} | {ten_thousand} | {hundred_thousand} |");
    }
    println!();
    println!(
        "Instructions per call, with its box and the inner service, beside 1 to 100,000 others."
    );
    println!("The mean of {CALLS} calls, so work that is done once in many calls is part of it.");
}

const OTHERS: [u64; 4] = [1, 100, 10_000, 100_000];
const WARM_UP: i64 = 64;
const CALLS: i64 = 4_096;

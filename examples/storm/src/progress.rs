//! Progress while the storm runs, on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use tokio::time::Instant;

use crate::callers::Record;

/// A bar on a terminal; elsewhere a plain line every few seconds.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { name: &'static str, total: u32, done: u32, succeeded: u32, said: Instant },
}

impl Progress {
    pub(crate) fn new(name: &'static str, total: u32) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("{name}: {total} operations");
            return Self::Lines { name, total, done: 0, succeeded: 0, said: Instant::now() };
        }
        let bar = ProgressBar::with_draw_target(Some(total.into()), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_prefix(name);
        Self::Bar(bar)
    }

    pub(crate) fn count(&mut self, record: &Record) {
        match self {
            Self::Bar(bar) => bar.inc(1),
            Self::Lines { name, total, done, succeeded, said } => {
                *done += 1;
                *succeeded += u32::from(record.outcome.is_ok());
                if said.elapsed() >= BETWEEN_LINES || done == total {
                    *said = Instant::now();
                    eprintln!("{name}: {done} of {total} done, {succeeded} succeeded");
                }
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish();
        }
    }
}

const TEMPLATE: &str = "{prefix:<24} {bar:40} {pos:>6}/{len} {elapsed:>4} left {eta}";
const BETWEEN_LINES: Duration = Duration::from_secs(2);

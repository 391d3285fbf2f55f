//! The progress of a run, on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use tokio::time::Instant;

use crate::callers::Record;

/// A progress bar on a terminal, or a line every 2 s elsewhere.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { name: &'static str, total: u32, done: u32, succeeded: u32, printed: Instant },
}

impl Progress {
    pub(crate) fn new(name: &'static str, total: u32) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("{name}: {total} operations");
            return Self::Lines { name, total, done: 0, succeeded: 0, printed: Instant::now() };
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
            Self::Lines { name, total, done, succeeded, printed } => {
                *done += 1;
                *succeeded += u32::from(record.outcome.is_ok());
                if printed.elapsed() >= BETWEEN_LINES || done == total {
                    *printed = Instant::now();
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

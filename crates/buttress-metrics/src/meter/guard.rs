use std::fmt;

use buttress_core::{Guard, Verdict};

use super::measurement::Measurement;
use crate::{CallEnd, Record};

/// The measurement of a call, kept with the response until its body has ended.
pub struct MeterGuard<R: Record> {
    measurement: Measurement<R>,
    head: CallEnd,
}

impl<R: Record> MeterGuard<R> {
    #[inline]
    pub(crate) const fn new(measurement: Measurement<R>, head: CallEnd) -> Self {
        Self { measurement, head }
    }
}

impl<R: Record> Guard for MeterGuard<R> {
    #[inline]
    fn end(&mut self, verdict: Verdict) {
        // The body of a failed response ends well, and the failure stays one.
        let end = if self.head == CallEnd::Success { verdict.into() } else { self.head };
        self.measurement.end(end);
    }
}

impl<R: Record> fmt::Debug for MeterGuard<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterGuard").field("head", &self.head).finish_non_exhaustive()
    }
}

use std::{fmt, sync::Arc};

use buttress_core::{Measure, Metric, Origin, Reading};

use super::settings::{MeterState, Settings};
use crate::{CallEnd, Subject};

/// The counts of a [`MeterLayer`](crate::MeterLayer) and its services.
#[derive(Clone)]
pub struct MeterHandle {
    subject: Subject,
    origin: Origin,
    state: Arc<MeterState>,
}

impl MeterHandle {
    pub(crate) fn new<R>(settings: &Settings<R>) -> Self {
        Self {
            subject: settings.subject,
            origin: settings.origin.clone(),
            state: Arc::clone(&settings.state),
        }
    }

    /// Returns the number of calls that have begun.
    pub fn begun(&self) -> u64 {
        self.state.begun()
    }

    /// Returns the number of calls that ended in this way.
    pub fn ended(&self, end: CallEnd) -> u64 {
        self.snapshot().ended(end)
    }

    /// Returns the number of calls that have begun and not ended.
    pub fn in_flight(&self) -> u64 {
        self.snapshot().in_flight
    }

    /// Returns all numbers. `begun` is the sum of all ends and of `in_flight`.
    ///
    /// A call that ends on another thread meanwhile may still count as in flight.
    pub fn snapshot(&self) -> MeterSnapshot {
        let ended = self.state.ended();
        let begun = self.state.begun();
        let in_flight = begun.saturating_sub(ended.iter().sum());
        MeterSnapshot { begun, in_flight, ended }
    }
}

/// The numbers of a [`MeterHandle`] at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeterSnapshot {
    /// The calls that have begun.
    pub begun: u64,
    /// The calls that have begun and not ended.
    pub in_flight: u64,
    ended: [u64; CallEnd::COUNT],
}

impl MeterSnapshot {
    /// Returns the number of calls that ended in this way.
    pub fn ended(&self, end: CallEnd) -> u64 {
        self.ended.get(end as usize).copied().unwrap_or_default()
    }
}

/// The [metrics](crate#metrics) of the layer.
impl Measure for MeterHandle {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        let metrics = self.subject.metrics();
        [metrics.begun, metrics.ended, metrics.in_flight].into_iter().for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let (metrics, instance) = (self.subject.metrics(), self.origin.name());
        let snapshot = self.snapshot();
        read(Reading::count(metrics.begun, instance, snapshot.begun));
        for end in CallEnd::ALL {
            let count = Reading::count(metrics.ended, instance, snapshot.ended(*end));
            read(count.labelled(end.as_str()));
        }
        read(Reading::number(metrics.in_flight, instance, snapshot.in_flight));
    }
}

impl fmt::Debug for MeterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterHandle")
            .field("subject", &self.subject)
            .field("name", &self.origin.name())
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

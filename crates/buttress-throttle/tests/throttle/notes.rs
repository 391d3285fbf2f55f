//! A law that a test reads and writes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_control::{Adapt, Sample};

/// A law that records its samples and follows a script of limits.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    pub(crate) limit: u32,
    pub(crate) samples: Arc<Mutex<Vec<(Duration, u32, bool)>>>,
    pub(crate) next: Arc<Mutex<Option<u32>>>,
    pub(crate) learned: Option<Duration>,
}

impl Notes {
    pub(crate) fn of(limit: u32) -> Self {
        Self { limit, samples: Arc::default(), next: Arc::default(), learned: None }
    }

    pub(crate) fn take(&self) -> Vec<(Duration, u32, bool)> {
        std::mem::take(&mut self.samples.lock().unwrap())
    }
}

impl Adapt for Notes {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn learn(&mut self, sample: Sample) -> u32 {
        self.samples.lock().unwrap().push((sample.rtt, sample.in_flight, sample.dropped));
        self.limit = self.next.lock().unwrap().unwrap_or(self.limit);
        self.limit
    }

    fn unloaded_rtt(&self) -> Option<Duration> {
        self.learned
    }
}

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_core::{CallCount, Extent, LayerSettings, Origin, PerThread, StateScope};

use crate::{CallEnd, Record, Subject};

/// The options of a meter, and the numbers that its services share.
#[derive(Debug)]
pub(crate) struct Settings<R> {
    pub(crate) subject: Subject,
    pub(crate) origin: Origin,
    pub(crate) extent: Extent,
    pub(crate) scope: StateScope,
    /// As the user gave it.
    pub(crate) sink: Arc<R>,
    /// The sink for the calls of this instance.
    pub(crate) sink_of_instance: Arc<R>,
    pub(crate) state: Arc<MeterState>,
}

/// The numbers of a meter.
#[derive(Debug, Default)]
pub(crate) struct MeterState {
    begun: CallCount,
    ended: PerThread<EndCounts>,
}

#[derive(Debug, Default)]
struct EndCounts([AtomicU64; CallEnd::COUNT]);

impl<R: Record> Settings<R> {
    pub(crate) fn new(subject: Subject, sink: R) -> Self {
        let origin = Origin::new("meter");
        let sink = Arc::new(sink);
        Self {
            subject,
            sink_of_instance: for_instance(&sink, subject, &origin),
            origin,
            extent: Extent::UntilEnd,
            scope: StateScope::PerLayer,
            sink,
            state: Arc::default(),
        }
    }

    pub(crate) fn rename(&mut self, origin: Origin) {
        self.sink_of_instance = for_instance(&self.sink, self.subject, &origin);
        self.origin = origin;
    }
}

fn for_instance<R: Record>(sink: &Arc<R>, subject: Subject, origin: &Origin) -> Arc<R> {
    // Not on the `Arc`, which is a sink too.
    R::for_instance(sink, subject, origin.name()).map_or_else(|| Arc::clone(sink), Arc::new)
}

impl MeterState {
    #[inline]
    pub(crate) fn note_end(&self, end: CallEnd) {
        // The copy of the thread on which the call ends.
        let counts = self.ended.get_or_make(EndCounts::default);
        if let Some(count) = counts.0.get(end as usize) {
            // Release pairs with the Acquire in `ended`: a thread that reads this end also reads the
            // begin of the call.
            count.fetch_add(1, Ordering::Release);
        }
    }

    pub(crate) fn ended(&self) -> [u64; CallEnd::COUNT] {
        let mut sums = [0_u64; CallEnd::COUNT];
        for counts in self.ended.copies() {
            for (sum, count) in sums.iter_mut().zip(&counts.0) {
                *sum += count.load(Ordering::Acquire);
            }
        }
        sums
    }

    /// Must be read after [`ended`](Self::ended). Otherwise more calls may have ended than begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.sum()
    }
}

impl<R> Clone for Settings<R> {
    fn clone(&self) -> Self {
        Self {
            origin: self.origin.clone(),
            sink: Arc::clone(&self.sink),
            sink_of_instance: Arc::clone(&self.sink_of_instance),
            state: Arc::clone(&self.state),
            ..*self
        }
    }
}

impl<R> LayerSettings for Settings<R> {
    fn scope(&self) -> StateScope {
        self.scope
    }

    fn calls(&self) -> &CallCount {
        &self.state.begun
    }

    fn with_fresh_state(&self) -> Self {
        Self { state: Arc::default(), ..self.clone() }
    }
}

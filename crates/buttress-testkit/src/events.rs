use std::{
    fmt::{self, Debug, Write as _},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tracing_core::{
    Dispatch, Interest, Level, Metadata, Subscriber, callsite,
    dispatcher::{self, DefaultGuard},
    field::{Field, Visit},
    span,
};

/// Records the events that this thread emits through [`tracing`](https://docs.rs/tracing), until it
/// is dropped.
///
/// The name of an event is that of its callsite: `tracing::debug!(name: "retry.scheduled", attempt
/// = 2)`. Times are on tokio's clock. So under paused time the same test gives the same
/// [`log`](Self::log), byte for byte.
///
/// tracing asks each callsite once whether its events are wanted. If recording and other tests run
/// on threads of one process, and two of them reach a new callsite at the same instant, its events
/// may be lost. Keep such tests in files of their own.
///
/// ```
/// use buttress_testkit::Events;
///
/// let events = Events::record();
/// tracing::debug!(name: "retry.scheduled", attempt = 2, "trying again");
/// assert_eq!(events.names(), ["retry.scheduled"]);
/// assert_eq!(events.all()[0].field("attempt"), Some("2"));
/// ```
#[must_use = "it records until it is dropped"]
pub struct Events {
    recorded: Arc<Mutex<Vec<Event>>>,
    _default: DefaultGuard,
}

impl Events {
    /// Records every event.
    pub fn record() -> Self {
        Self::of("")
    }

    /// Records the events whose target starts with `target`, such as `"buttress"` for those of the
    /// layers of buttress.
    pub fn of(target: &'static str) -> Self {
        // With a single subscriber, tracing asks the thread that reaches a callsite once, and
        // caches the answer for all threads. These two subscribers make tracing ask each thread.
        KEPT.get_or_init(|| [(); 2].map(|()| Dispatch::new(Recorder::new("", Arc::default()))));
        let recorded = Arc::default();
        let dispatch = Dispatch::new(Recorder::new(target, Arc::clone(&recorded)));
        // Asks again for callsites that another thread has reached meanwhile.
        callsite::rebuild_interest_cache();
        Self { recorded, _default: dispatcher::set_default(&dispatch) }
    }

    /// Returns all events so far, in order.
    pub fn all(&self) -> Vec<Event> {
        self.lock().clone()
    }

    /// Returns the events called `name`, in order.
    pub fn named(&self, name: &str) -> Vec<Event> {
        let recorded = self.lock();
        recorded.iter().filter(|event| event.name == name).cloned().collect()
    }

    /// Returns the names of all events, in order.
    pub fn names(&self) -> Vec<&'static str> {
        self.lock().iter().map(|event| event.name).collect()
    }

    /// Returns the number of events called `name`.
    pub fn count(&self, name: &str) -> usize {
        self.lock().iter().filter(|event| event.name == name).count()
    }

    /// Returns all events as text, a line each: time since the recording began, level, name,
    /// fields.
    pub fn log(&self) -> String {
        let mut log = String::new();
        for event in self.lock().iter() {
            // Writing to a String does not fail.
            let _ = writeln!(log, "{event}");
        }
        log
    }

    /// Removes the events so far.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter()).finish()
    }
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The time since the recording began.
    pub at: Duration,
    /// The level.
    pub level: Level,
    /// The name of the callsite.
    pub name: &'static str,
    /// The target, by default the path of the module.
    pub target: &'static str,
    /// The fields as text, in order. The message is the field `message`.
    pub fields: Vec<(&'static str, String)>,
}

impl Event {
    /// Returns the field called `name`, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        let (ms, fraction) = (micros / 1000, micros % 1000);
        write!(f, "{ms}.{fraction:03}ms {} {}", self.level, self.name)?;
        for (name, value) in &self.fields {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

struct Recorder {
    recorded: Arc<Mutex<Vec<Event>>>,
    target: &'static str,
    start: Instant,
    spans: AtomicU64,
}

impl Recorder {
    fn new(target: &'static str, recorded: Arc<Mutex<Vec<Event>>>) -> Self {
        Self { recorded, target, start: Instant::now(), spans: AtomicU64::new(0) }
    }
}

impl Subscriber for Recorder {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Recorders of other threads may want other targets, and come and go.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with(self.target)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1 + self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing_core::Event<'_>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let event = Event {
            at: self.start.elapsed(),
            level: *metadata.level(),
            name: metadata.name(),
            target: metadata.target(),
            fields: fields.0,
        };
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.push(event);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

static KEPT: OnceLock<[Dispatch; 2]> = OnceLock::new();

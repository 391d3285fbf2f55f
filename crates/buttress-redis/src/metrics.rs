use buttress_core::{Measure, Metric, Reading};
use buttress_state::{StoreErrorKind, StoreSnapshot};

use crate::Redis;

/// The [metrics](crate#metrics) of the store.
impl Measure for Redis {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&OPERATIONS, &ERRORS, &CONNECTIONS, &CONNECTED, &OPEN_CIRCUITS]
            .into_iter()
            .for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let instance = self.namespace();
        let snapshot = self.snapshot();
        read(Reading::count(&OPERATIONS, instance, snapshot.operations));
        for kind in StoreErrorKind::ALL {
            let count = Reading::count(&ERRORS, instance, errors_of(&snapshot, *kind));
            read(count.labelled(kind.as_str()));
        }
        read(Reading::count(&CONNECTIONS, instance, snapshot.connections));
        read(Reading::number(&CONNECTED, instance, snapshot.is_connected.into()));
        read(Reading::number(&OPEN_CIRCUITS, instance, snapshot.open_circuits as u64));
    }
}

fn errors_of(snapshot: &StoreSnapshot, kind: StoreErrorKind) -> u64 {
    match kind {
        StoreErrorKind::Timeout => snapshot.timeouts,
        StoreErrorKind::Rejected => snapshot.rejected,
        StoreErrorKind::Corrupt => snapshot.corrupt,
        _ => snapshot.unavailable,
    }
}

static OPERATIONS: Metric = Metric::counter(
    "buttress.redis.operations",
    "{operation}",
    "Operations begun, with those that failed at once.",
);

static ERRORS: Metric =
    Metric::counter("buttress.redis.errors", "{error}", "Operations that failed.").split_by("kind");

static CONNECTIONS: Metric =
    Metric::counter("buttress.redis.connections", "{connection}", "Connections established.");

static CONNECTED: Metric =
    Metric::gauge("buttress.redis.connected", "1", "Whether a connection stands now: 1 or 0.");

static OPEN_CIRCUITS: Metric = Metric::gauge(
    "buttress.redis.open_circuits",
    "{circuit}",
    "Circuits that are open now. The operations of an open circuit fail at once.",
);

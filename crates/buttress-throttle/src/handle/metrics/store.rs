use buttress_core::{Metric, Reading};
use buttress_state::StoreErrorKind;

use crate::FleetSnapshot;

/// The metrics of a rate that a fleet keeps together.
pub(super) const METRICS: [&Metric; 10] = [
    &TRIPS,
    &GRANTED,
    &DENIED_TRIPS,
    &EXPIRED,
    &AWAY_ADMITTED,
    &LOSSES,
    &ERRORS,
    &DEBT,
    &KEYS_AWAY,
    &TRIP_TIME_MAX,
];

pub(super) fn measure(fleet: &FleetSnapshot, instance: &str, read: &mut dyn FnMut(Reading<'_>)) {
    let counts = [
        (&TRIPS, fleet.trips),
        (&GRANTED, fleet.granted),
        (&DENIED_TRIPS, fleet.denied_trips),
        (&EXPIRED, fleet.expired),
        (&AWAY_ADMITTED, fleet.away_admitted),
        (&LOSSES, fleet.losses),
    ];
    for (metric, count) in counts {
        read(Reading::count(metric, instance, count));
    }
    for kind in StoreErrorKind::ALL {
        let count = Reading::count(&ERRORS, instance, fleet.errors_of(*kind));
        read(count.labelled(kind.as_str()));
    }
    read(Reading::number(&DEBT, instance, fleet.debt));
    read(Reading::number(&KEYS_AWAY, instance, fleet.keys_away as u64));
    read(Reading::gauge(&TRIP_TIME_MAX, instance, fleet.trip_time_max.as_secs_f64()));
}

static TRIPS: Metric = Metric::counter(
    "buttress.throttle.store.trips",
    "{trip}",
    "Requests to the store that have ended.",
);

static GRANTED: Metric =
    Metric::counter("buttress.throttle.store.granted", "{cell}", "Cells that the store granted.");

static DENIED_TRIPS: Metric = Metric::counter(
    "buttress.throttle.store.denied_trips",
    "{trip}",
    "Requests for which the store granted less than wanted.",
);

static EXPIRED: Metric = Metric::counter(
    "buttress.throttle.store.expired",
    "{cell}",
    "Held cells that ended before a call took them.",
);

static AWAY_ADMITTED: Metric = Metric::counter(
    "buttress.throttle.store.away_admitted",
    "{cell}",
    "Cells that were admitted without the store.",
);

static LOSSES: Metric = Metric::counter(
    "buttress.throttle.store.losses",
    "{loss}",
    "Requests at which the store had lost the state of a rate.",
);

static ERRORS: Metric = Metric::counter(
    "buttress.throttle.store.errors",
    "{error}",
    "Requests to the store that failed.",
)
.split_by("kind");

static DEBT: Metric = Metric::gauge(
    "buttress.throttle.store.debt",
    "{cell}",
    "Cells admitted without the store that the store does not know of yet.",
);

static KEYS_AWAY: Metric = Metric::gauge(
    "buttress.throttle.store.keys_away",
    "{key}",
    "Keys that are away from the store.",
);

static TRIP_TIME_MAX: Metric = Metric::gauge(
    "buttress.throttle.store.trip_time_max",
    "s",
    "The longest time of a request to the store so far.",
);

//! Calls that a layer observes: they pass at once, and count once the store has decided.

use buttress_control::Nanos;
use buttress_state::sync::lock;

use super::{FleetCells, law::Observed};
use crate::{limit::CallInfo, queue::Supply};

/// Notes a call that passes before the store has decided.
pub(super) fn note(supply: &FleetCells, cells: u32, call: &CallInfo<'_>) {
    let mut law = lock(&supply.law);
    if law.observed.len() < MAX_OBSERVED {
        let settings = call.settings.clone();
        let (criticality, is_asked) = (call.criticality, false);
        law.observed.push(Observed { cells, criticality, settings, is_asked });
    }
}

/// Decides the calls that a layer observes, after a request has ended.
pub(super) fn decide(supply: &FleetCells, now: Nanos) -> Decided {
    let mut law = lock(&supply.law);
    // Of the calls that came since the request, the next request decides, if there is one.
    let is_last = law.lease.is_away() || law.lease.denied(now, &law.rules, 1).is_some();
    let observed = std::mem::take(&mut law.observed).into_iter();
    let (observed, later): (Vec<_>, _) = observed.partition(|call| is_last || call.is_asked);
    law.observed = later;
    let decide = |call: Observed| {
        let taken = law.take_held(now, call.cells, &supply.slots).is_some()
            || (law.lease.is_away() && supply.without_store(&mut law, now, call.cells).is_ok());
        (taken, call)
    };
    Decided(observed.into_iter().map(decide).collect())
}

/// Observed calls, and whether the rate would have admitted them.
#[must_use]
pub(super) struct Decided(Vec<(bool, Observed)>);

impl Decided {
    /// Counts and reports the calls. Runs without a lock, because this is user code.
    pub(super) fn report(self, supply: &FleetCells, now: Nanos) {
        for (is_admitted, Observed { cells, criticality, settings, .. }) in self.0 {
            if is_admitted {
                supply.count(criticality);
            } else {
                settings.refuse(supply.refusal(now, supply.why(), 0, cells), criticality);
            }
        }
    }
}

/// The most observed calls whose decision is open. Later ones pass and are not counted.
const MAX_OBSERVED: usize = 1024;

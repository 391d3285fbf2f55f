//! A law as the limit of a simulated client.

use buttress_control::{Adapt, Nanos, Sample, near_limit};
use buttress_testkit::Answered;

/// Shows the call to the law if it is a sample, and returns the limit from then on.
pub(crate) fn learn(law: &mut impl Adapt, call: Answered) -> u32 {
    if near_limit(call.in_flight, law.limit()) {
        law.learn(Sample {
            started: Nanos::from(call.started),
            rtt: call.rtt,
            in_flight: call.in_flight,
            dropped: false,
        });
    }
    law.limit()
}

//! A law as the limit of a simulated client.

use buttress_control::{Adapt, Nanos, Sample, near_limit};
use buttress_testkit::Answered;

/// Shows the call to the law if it is a sample, and returns the limit from then on.
pub(crate) fn learn(law: &mut impl Adapt, call: Answered) -> u32 {
    if near_limit(call.in_flight, law.limit()) {
        law.learn(Sample::new(Nanos::from(call.started), call.rtt, call.in_flight, false));
    }
    law.limit()
}

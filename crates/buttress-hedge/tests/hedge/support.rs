//! Fixtures of the tests of the layer.

use std::time::Duration;

use buttress_core::{BoxError, Origin, Reason, Rejection, RetryHint, Verdict};
use buttress_hedge::{Budget, HedgeLayer, Ratio};
use buttress_testkit::{Script, Scripted};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type Upstream = Scripted<u32, u32, BoxError>;

/// A layer with a fixed delay that may hedge every call.
pub(crate) fn hedging(delay: Duration) -> HedgeLayer {
    HedgeLayer::after(delay).budget(Budget::unlimited())
}

/// A budget of exactly this many tokens in the next minute.
pub(crate) fn tokens(tokens: u32) -> Budget {
    Budget::over(SECOND, Ratio::ZERO, tokens)
}

pub(crate) fn script() -> Script<u32, u32, BoxError> {
    Script::new()
}

pub(crate) fn failure(text: &'static str) -> impl Fn(u32) -> Result<u32, BoxError> + Send + Sync {
    move |_| Err(text.into())
}

/// The rejection of a limit below.
pub(crate) fn rejection(reason: Reason) -> Rejection {
    Rejection::new(reason, Origin::new("throttle"))
}

/// The verdict that the text of an error names.
pub(crate) fn by_text(outcome: Result<&u32, &BoxError>) -> Verdict {
    let Err(error) = outcome else { return Verdict::Success };
    if let Some(rejection) = Rejection::find(error) {
        return Verdict::from_rejection(rejection);
    }
    match error.to_string().as_str() {
        "permanent" => Verdict::Permanent,
        "expired" => Verdict::Expired,
        "unknown" => Verdict::Unknown,
        "never processed" => Verdict::NeverProcessed,
        "throttled" => Verdict::Throttled(None),
        "never again" => Verdict::Throttled(Some(RetryHint::Never)),
        "after 300 ms" => Verdict::Throttled(Some(RetryHint::Exactly(300 * MS))),
        "after 300 ms or more" => Verdict::Throttled(Some(RetryHint::After(300 * MS))),
        "after 61 s" => Verdict::Throttled(Some(RetryHint::Exactly(61 * SECOND))),
        _ => Verdict::Transient,
    }
}

/// The times of the tries, in milliseconds.
pub(crate) fn times(upstream: &Upstream) -> Vec<u128> {
    upstream.times().iter().map(Duration::as_millis).collect()
}

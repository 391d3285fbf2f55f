/// How many calls a limit may keep waiting inside the service, as a function that grows slowly with
/// the limit.
///
/// The functions of [Netflix's concurrency-limits][netflix].
///
/// ```
/// use buttress_control::Slack;
///
/// assert_eq!(Slack::log10(3).at(100), 6);
/// assert_eq!(Slack::sqrt(4).at(2500), 50);
/// assert_eq!(Slack::constant(4).at(2500), 4);
/// ```
///
/// [netflix]: https://github.com/Netflix/concurrency-limits/tree/main/concurrency-limits-core/src/main/java/com/netflix/concurrency/limits/limit/functions
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slack(SlackCurve);

impl Slack {
    /// The same number of calls at every limit.
    pub const fn constant(calls: u32) -> Self {
        Self(SlackCurve::Constant(calls))
    }

    /// `factor` calls for each decimal digit of the limit after the first; for a limit of a single
    /// digit, the same as for two digits: `factor · max(1, ⌊log10 limit⌋)`.
    pub const fn log10(factor: u32) -> Self {
        Self(SlackCurve::Log10(factor))
    }

    /// The square root of the limit, and at least `floor` calls: `max(floor, ⌊√limit⌋)`.
    pub const fn sqrt(floor: u32) -> Self {
        Self(SlackCurve::Sqrt(floor))
    }

    /// Returns the calls at this limit.
    pub const fn at(self, limit: u32) -> u32 {
        match self.0 {
            SlackCurve::Constant(calls) => calls,
            SlackCurve::Log10(factor) => factor.saturating_mul(log10(limit)),
            SlackCurve::Sqrt(floor) => {
                let root = limit.isqrt();
                if root > floor { root } else { floor }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlackCurve {
    Constant(u32),
    Log10(u32),
    Sqrt(u32),
}

const fn log10(limit: u32) -> u32 {
    if limit < 100 { 1 } else { limit.ilog10() }
}

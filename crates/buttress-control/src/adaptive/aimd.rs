use std::time::Duration;

use super::bounds::Bounds;
use super::options::limit_options;
use super::rounds::{Round, Rounds};
use crate::numbers::nanos::from_float;
use crate::numbers::ratio::MILLION;
use crate::{Adapt, Ratio, Sample, near_limit};

/// Additive increase, multiplicative decrease: a call more after a good round, a tenth fewer after
/// a bad round.
///
/// The law of TCP's congestion avoidance, and of [Netflix's `AIMDLimit`][netflix]. A round is bad
/// if calls were dropped in it, or if its mean is above [`Aimd::tolerance`] times the baseline.
///
/// ```
/// use buttress_control::{Adapt, Aimd, Ratio};
///
/// let law = Aimd::default().initial(50).max(200).backoff(Ratio::percent(80));
/// assert_eq!(law.limit(), 50);
/// ```
///
/// # Where it settles
///
/// The limit swings below 1.5 times as many calls as the service can work on at once. At that point
/// calls take 1.5 times the baseline. The limit grows by 1 per round, so the way from 20 to 200
/// takes 180 rounds. If the service has become slower, the limit grows by a fifth per round, up to
/// the throughput of before.
///
/// # For servers, and for clients that learn of overload
///
/// If the service sheds calls, or if an [`Aimd::timeout`] bounds its queue, clients that limit
/// themselves by this law share the service fairly, as TCP's flows do. Without drops, several
/// clients can climb together. Use [`Trend`](crate::Trend) there.
///
/// # Defaults
///
/// | option | |
/// |---|---|
/// | [`backoff`](Self::backoff) | 90 % |
/// | [`tolerance`](Self::tolerance) | 150 % |
/// | [`timeout`](Self::timeout) | none (Netflix: 5 s) |
/// | [`initial`](Self::initial), [`min`](Self::min), [`max`](Self::max) | 20, 1, 1000 (Netflix: 20, 20, 200) |
/// | [`round`](Self::round) | 100 calls, and twice the limit |
///
/// [netflix]: https://github.com/Netflix/concurrency-limits/blob/main/concurrency-limits-core/src/main/java/com/netflix/concurrency/limits/limit/AIMDLimit.java
#[derive(Clone, Debug)]
pub struct Aimd {
    bounds: Bounds,
    rounds: Rounds,
    limit: u32,
    backoff: Ratio,
    tolerance: Ratio,
    timeout: Duration,
}

impl Aimd {
    limit_options!();

    /// Sets the share of the limit that is left after a bad round. Default: 90 %. Less than 50 %
    /// counts as 50 %, more than 100 % as 100 %.
    pub const fn backoff(mut self, backoff: Ratio) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets the multiple of the baseline up to which the mean of a round is good. Default: 150 %.
    ///
    /// Less than 100 % counts as 100 %. Under [`Aimd::each_call`] only a given baseline counts.
    /// Without a baseline, only drops are bad.
    pub const fn tolerance(mut self, tolerance: Ratio) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the time above which a call counts as dropped. Default: none.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn step(&mut self, round: Round) {
        let limit = if round.dropped || self.is_slow(round) {
            self.backed_off()
        } else if near_limit(round.in_flight, self.limit) {
            let regrown = self.rounds.regrown(self.limit, round);
            regrown.unwrap_or(self.limit.saturating_add(1))
        } else {
            self.limit
        };
        self.limit = self.bounds.keep(limit);
    }

    fn is_slow(&self, round: Round) -> bool {
        let times = self.tolerance.as_f64().max(1.0);
        self.rounds.baseline().is_some_and(|baseline| round.rtt > baseline * times)
    }

    fn backed_off(&self) -> u32 {
        let parts = self.backoff.parts_per_million().clamp(MILLION / 2, MILLION);
        let left = u64::from(self.limit) * u64::from(parts) / u64::from(MILLION);
        u32::try_from(left).unwrap_or(u32::MAX)
    }
}

impl Adapt for Aimd {
    #[inline]
    fn limit(&self) -> u32 {
        self.rounds.cap(self.bounds, self.limit)
    }

    #[inline]
    fn learn(&mut self, mut sample: Sample) -> u32 {
        sample.dropped |= sample.rtt > self.timeout;
        if let Some(round) = self.rounds.learn(self.bounds, self.limit, sample) {
            self.step(round);
        }
        self.limit()
    }

    #[inline]
    fn unloaded_rtt(&self) -> Option<Duration> {
        self.rounds.settled(self.bounds, self.limit).map(from_float)
    }
}

impl Default for Aimd {
    fn default() -> Self {
        Self {
            bounds: Bounds::DEFAULT,
            rounds: Rounds::DEFAULT,
            limit: Bounds::DEFAULT.initial,
            backoff: Ratio::percent(90),
            tolerance: Ratio::percent(150),
            timeout: Duration::MAX,
        }
    }
}

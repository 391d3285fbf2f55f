use std::time::Duration;

use super::band::Band;
use super::bounds::Bounds;
use super::options::limit_options;
use super::rounds::{Round, Rounds};
use super::stats::{Average, Correlation, Quantile};
use crate::numbers::nanos::{from_float, to_float};
use crate::{Adapt, Ratio, Sample, Slack, near_limit};

/// Watches whether more calls in flight still raise the throughput, or only the latency.
///
/// The law of [failsafe-go's adaptive limiter][failsafe]. As in [`Vegas`](crate::Vegas), the limit
/// grows or shrinks by the number of waiting calls. If every place was taken, the limit also
/// shrinks if, over the last fifty rounds, with more calls in flight
///
/// * the throughput fell, or
/// * the throughput hardly rose (a correlation below 0.3) and the time rose (above 0.5), or
/// * the time rose, and the throughput stayed within a fifth.
///
/// The time is the [`Trend::quantile`] of a round, the median of five of these, averaged over five.
/// The throughput is the number of calls in flight divided by the time.
///
/// ```
/// use buttress_control::{Adapt, Ratio, Trend};
///
/// let law = Trend::default().quantile(Ratio::percent(95)).max(100);
/// assert_eq!(law.limit(), 20);
/// ```
///
/// # Where it settles
///
/// At 3 to 6 calls more than the service can work on at once, or fewer. The limit moves by 1 per
/// round for each decimal digit of the limit after the first.
///
/// # For clients and for servers
///
/// Use this law for a client whose service has other clients. The limit grows slowly enough that
/// the clients come to probe together before their limits have climbed. Ten clients of a hundred
/// servers hold the sum of their limits between 1 and 3 times the servers, and below 4 times if few
/// calls take most of the time.
///
/// Each client keeps some calls waiting, so the sum grows with the number of clients. If the
/// servers are few, the sum is a larger multiple of them: twenty clients of a hundred servers hold
/// up to 5 times the servers. Alone, a client that starts at 20 needs some hundred round trips to
/// reach 100.
///
/// # Changes to the original
///
/// When the service has become slower, the limit grows by a fifth per round, up to the throughput
/// of before. A step by less than 1.45 is not recognized, because the queue of other clients can
/// grow as fast. If a service becomes slower by such a step and has room for more, the limit falls,
/// and comes back over some hundred round trips. For a service without other clients the laws for
/// servers follow smaller steps.
///
/// failsafe-go compares with an average over ten rounds, which follows the load. Its correlations
/// then have to stop the drift, and the limit swings by half of itself. Here probes measure the
/// baseline. The correlations decide only where the number of waiting calls would leave the limit
/// unchanged. As in `Vegas`, the thresholds are shares of a large limit, and a limit that is far
/// too high falls by half of the excess. After drops the limit falls by a tenth. failsafe-go does
/// not count drops.
///
/// # Defaults
///
/// | option | |
/// |---|---|
/// | [`quantile`](Self::quantile) | 90 % |
/// | [`initial`](Self::initial), [`min`](Self::min), [`max`](Self::max) | 20, 1, 1000 (failsafe-go: 20, 1, 200) |
/// | [`round`](Self::round) | 100 calls, and twice the limit (failsafe-go: 50 calls and 1 s) |
///
/// [failsafe]: https://github.com/failsafe-go/failsafe-go/blob/master/adaptivelimiter/adaptivelimiter.go
#[derive(Clone, Debug)]
pub struct Trend {
    bounds: Bounds,
    rounds: Rounds,
    limit: u32,
    quantile: Ratio,
    times: Quantile,
    recent: Smoothed,
    /// The baseline while nothing is probed.
    average: Average,
    throughput: Correlation,
    slowness: Correlation,
}

impl Trend {
    limit_options!();

    /// Sets the quantile of the times of a round that represents the round. Default: 90 %. More
    /// than 100 % counts as 100 %, the longest.
    pub fn quantile(mut self, quantile: Ratio) -> Self {
        self.quantile = quantile;
        self.times = self.no_times();
        self
    }

    /// Returns the smoothed time of recent calls. Zero before the first round.
    pub fn recent(&self) -> Duration {
        from_float(self.recent.value)
    }

    fn step(&mut self, round: Round, time: f64) {
        let band = self.band();
        let limit = if round.dropped {
            band.after_drops()
        } else {
            let waiting = self.waiting(band, round, time);
            // Against a probed baseline, few waiting calls mean that there is room. Against an
            // average, few waiting calls may also mean that the average has followed the load.
            let room = !self.rounds.uses_single_samples() && waiting < band.alpha;
            let futile = self.is_futile(round.in_flight) && !room;
            if let Some(regrown) = self.rounds.regrown(self.limit, round) {
                regrown
            } else if futile || waiting > band.beta {
                band.down(waiting)
            } else if waiting < band.alpha {
                self.up(band, round.in_flight)
            } else {
                self.limit
            }
        };
        self.limit = self.bounds.keep(limit);
    }

    fn band(&self) -> Band {
        if self.rounds.uses_single_samples() {
            Band::of_calls(self.limit, ALPHA, BETA)
        } else {
            Band::of_rounds(self.limit, ALPHA, BETA)
        }
    }

    /// The number of waiting calls. Against the probed baseline the mean counts, because Little's
    /// law holds for the mean.
    fn waiting(&mut self, band: Band, round: Round, time: f64) -> u32 {
        let recent = self.recent.add(time);
        let probed = self.rounds.baseline();
        if !self.rounds.uses_single_samples() {
            return band.waiting(probed.unwrap_or(round.rtt), round.rtt);
        }
        self.average.begin_at(probed);
        band.waiting(self.average.add(recent), recent)
    }

    fn is_futile(&mut self, in_flight: u32) -> bool {
        let calls = f64::from(in_flight);
        let throughput = self.throughput.add(calls, calls / self.recent.value);
        let slowness = self.slowness.add(calls, self.recent.value).coefficient;
        let slower = slowness > 0.5;
        let idle = throughput.coefficient < 0.3 || throughput.variation < 0.2;
        in_flight >= self.limit && (throughput.coefficient < 0.0 || idle && slower)
    }

    /// Up, to at most 5 times the calls in flight. Down from beyond that.
    fn up(&self, band: Band, in_flight: u32) -> u32 {
        let most = in_flight.saturating_mul(5);
        if self.limit > most { band.down(0) } else { band.up().min(most) }
    }

    fn no_times(&self) -> Quantile {
        Quantile::of(self.quantile.as_f64().min(1.0))
    }
}

impl Adapt for Trend {
    #[inline]
    fn limit(&self) -> u32 {
        self.rounds.cap(self.bounds, self.limit)
    }

    #[inline]
    fn learn(&mut self, sample: Sample) -> u32 {
        if self.rounds.are_between() {
            self.times = self.no_times();
        }
        let tells = self.rounds.uses_single_samples() || near_limit(sample.in_flight, self.limit());
        if tells && !sample.dropped {
            self.times.add(to_float(sample.rtt).max(1.0));
        }
        if let Some(round) = self.rounds.learn(self.bounds, self.limit, sample) {
            self.step(round, self.times.value());
        }
        self.limit()
    }

    #[inline]
    fn unloaded_rtt(&self) -> Option<Duration> {
        self.rounds.settled(self.bounds, self.limit).map(from_float)
    }
}

impl Default for Trend {
    fn default() -> Self {
        Self {
            bounds: Bounds::DEFAULT,
            rounds: Rounds::SHARED,
            limit: Bounds::DEFAULT.initial,
            quantile: Ratio::percent(90),
            times: Quantile::of(0.9),
            recent: Smoothed::new(),
            average: Average::over(10),
            throughput: Correlation::EMPTY,
            slowness: Correlation::EMPTY,
        }
    }
}

/// An average over five medians of five.
#[derive(Clone, Debug)]
struct Smoothed {
    /// The newest first. NaN for a missing value.
    last: [f64; 5],
    average: Average,
    value: f64,
}

impl Smoothed {
    fn new() -> Self {
        Self { last: [f64::NAN; 5], average: Average::over(5), value: 0.0 }
    }

    fn add(&mut self, time: f64) -> f64 {
        self.last.rotate_right(1);
        let [newest, ..] = &mut self.last;
        *newest = time;
        self.value = self.average.add(self.median().unwrap_or(time));
        self.value
    }

    /// The median, if there are five values.
    fn median(&self) -> Option<f64> {
        let mut sorted = self.last;
        sorted.sort_unstable_by(f64::total_cmp);
        let [_, _, middle, _, last] = sorted;
        last.is_finite().then_some(middle)
    }
}

/// Fewer waiting calls make the limit grow, more than [`BETA`] make it shrink.
const ALPHA: Slack = Slack::log10(3);
const BETA: Slack = Slack::log10(6);

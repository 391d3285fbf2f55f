use std::mem;

use super::schedule::{ABOUT, Jump, NextRound, Schedule};
use crate::adaptive::bounds::Bounds;
use crate::{Nanos, Sample};

/// The time of a call that waits for no other, measured repeatedly under half of the limit.
///
/// The least time ever seen is too low (a single lucky call). An average that follows the load
/// rises with the load, until no load is too much. So the limit is halved for a round from time to
/// time, as [BBR][bbr] does with its window, and as [Envoy][envoy] goes down to three calls. A
/// limit of up to twice what the service can work on at once then keeps no call waiting.
///
/// A probe can find more than the baseline for two reasons: the service has become slower, or a
/// queue has not drained. That queue may belong to other clients, or be longer than half of the
/// limit. Only the first reason can appear at once. So a jump is believed as soon as a probe
/// confirms it, and a rise only when two probes agree. Neither is believed if half of the limit
/// makes calls quicker by a third, because then the queue is the limit's own.
///
/// [bbr]: https://www.ietf.org/archive/id/draft-ietf-ccwg-bbr-02.html#section-5.3.4
/// [envoy]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    /// In nanoseconds. 0 while unknown.
    rtt: f64,
    phase: ProbePhase,
    schedule: Schedule,
    /// The jump that the running probe checks.
    jump: Option<Jump>,
    /// The time of the round before the running probe, under the whole limit.
    full: f64,
    /// The result of the last probe, if not believed yet. 0 otherwise.
    doubt: f64,
    /// Whether the last round was much quicker than the baseline.
    quicker: bool,
    /// The law's limit at the last probe. 0 before the first.
    confirmed: u32,
    /// The limit with which the service has the throughput of before it became slower. 0 if it did
    /// not.
    reach: u32,
}

impl Baseline {
    pub(crate) const UNKNOWN: Self = Self {
        rtt: 0.0,
        phase: ProbePhase::Between,
        schedule: Schedule::FIRST,
        jump: None,
        full: 0.0,
        quicker: false,
        doubt: 0.0,
        confirmed: 0,
        reach: 0,
    };

    /// The baseline of a service that has other clients.
    pub(crate) const SHARED: Self = Self { schedule: Schedule::SHARED, ..Self::UNKNOWN };

    pub(crate) const fn rtt(&self) -> Option<f64> {
        if self.rtt > 0.0 { Some(self.rtt) } else { None }
    }

    pub(crate) const fn know(&mut self, rtt: f64) {
        self.rtt = rtt;
    }

    #[inline]
    pub(crate) fn cap(&self, bounds: Bounds, limit: u32) -> u32 {
        match self.phase {
            ProbePhase::Between | ProbePhase::Settle { probe: false, .. } => limit,
            ProbePhase::Settle { .. } | ProbePhase::Probe { .. } => half(bounds, limit),
        }
    }

    /// Whether a sample belongs to a round, and not to the time after the limit was halved or
    /// restored.
    #[inline]
    pub(crate) fn admits(&mut self, sample: Sample) -> bool {
        let ProbePhase::Settle { since, calls, probe } = &mut self.phase else { return true };
        if sample.started >= *since {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                self.schedule.begin(sample.ended());
                self.phase =
                    if *probe { ProbePhase::Probe { since: *since } } else { ProbePhase::Between };
            }
        }
        false
    }

    /// Learns from a round without drops. Returns whether the law must not learn from the round,
    /// because it was a probe or a probe is about to check it.
    pub(crate) fn learn(&mut self, bounds: Bounds, limit: u32, round: Round, now: Nanos) -> bool {
        if let ProbePhase::Probe { since } = self.phase {
            self.phase = ProbePhase::Settle { since: now, calls: limit, probe: false };
            let next = self.adopt(limit, round.rtt);
            self.schedule.probed(since, round.rtt, next);
            return true;
        }
        let full = round.in_flight >= limit;
        if self.rtt == 0.0 || (full && half(bounds, limit) == limit) {
            self.rtt = if self.rtt == 0.0 { round.rtt } else { f64::midpoint(self.rtt, round.rtt) };
            self.schedule.start_at(round.rtt);
            return false;
        }
        self.come_down(round.rtt);
        let jump = self.schedule.see(round.rtt, self.rtt, now);
        // While the limit refuses no call, a halved limit would refuse calls without need.
        if !full {
            return false;
        }
        let sure = jump.filter(|jump| jump.again);
        if jump.is_some() && sure.is_none() {
            return true;
        }
        // The limit has halved since the last probe: the law may be wrong about the baseline.
        let starved = limit <= self.confirmed / 2;
        if self.schedule.is_due(limit, round.rtt, now) || sure.is_some() || starved {
            if sure.is_some() {
                self.schedule.start_at(round.rtt);
            }
            self.jump = sure;
            self.full = round.rtt;
            self.phase = ProbePhase::Settle { since: now, calls: limit, probe: true };
        }
        sure.is_some()
    }

    /// Ends a round with drops. A probe with drops has measured nothing.
    pub(crate) fn give_up(&mut self, now: Nanos) {
        let probed =
            matches!(self.phase, ProbePhase::Settle { probe: true, .. } | ProbePhase::Probe { .. });
        self.phase = ProbePhase::Between;
        self.schedule.give_up(now, probed);
        // Drops say that there is no room, whatever the time of calls.
        (self.reach, self.confirmed) = (0, 0);
    }

    /// A fifth more, while the limit is below the limit for the former throughput and calls wait
    /// for no other.
    pub(crate) fn regrown(&self, limit: u32, round: Round) -> Option<u32> {
        let room = limit < self.reach && round.rtt <= self.rtt * NO_QUEUE;
        room.then(|| limit.saturating_add((limit / 5).max(1)))
    }

    /// Calls that are faster under load than without load show that the baseline is too high. The
    /// first such round may be chance.
    fn come_down(&mut self, rtt: f64) {
        let before = mem::replace(&mut self.quicker, rtt < self.rtt * MUCH_LESS);
        if self.quicker {
            self.rtt = if before { rtt } else { f64::midpoint(self.rtt, rtt) };
            self.doubt = 0.0;
        }
    }

    /// Learns from a probe, and returns when to probe again.
    fn adopt(&mut self, limit: u32, rtt: f64) -> NextRound {
        let full = self.full;
        let jump = mem::take(&mut self.jump).is_some_and(|jump| jump.is_confirmed_by(rtt, full));
        let doubt = mem::take(&mut self.doubt);
        let first = mem::replace(&mut self.confirmed, limit) == 0;
        // Under half of the limit, a queue of the limit's own would be gone, or half as long.
        let unmoved = rtt > self.full * ABOUT;
        if jump {
            // By Little's law the same throughput needs more calls in flight by this factor.
            self.reach = scaled(limit, rtt / self.rtt);
            self.rtt = rtt;
            return NextRound::Soon;
        }
        if rtt < self.rtt * MUCH_LESS {
            self.rtt = rtt;
            return NextRound::Soon;
        }
        if rtt < self.rtt * MUCH_MORE {
            self.rtt = f64::midpoint(self.rtt, rtt);
            return NextRound::Later;
        }
        if !unmoved {
            return NextRound::Early;
        }
        if rtt.max(doubt) * ABOUT < rtt.min(doubt) {
            self.rtt = rtt.min(doubt);
            return NextRound::Later;
        }
        self.doubt = rtt;
        self.rtt = f64::midpoint(self.rtt, rtt.min(self.rtt * BELIEVED));
        if first { NextRound::Soon } else { NextRound::Later }
    }
}

/// The result of a round, for a law.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// The mean time of the answered calls, in nanoseconds and at least 1.
    pub(crate) rtt: f64,
    /// The maximum number of calls in flight.
    pub(crate) in_flight: u32,
    /// Whether so many calls were dropped that the mean does not matter.
    pub(crate) dropped: bool,
}

#[derive(Clone, Copy, Debug)]
enum ProbePhase {
    Between,
    /// The limit was halved for a probe, or restored after one. The next round must not see calls
    /// that waited before. The round must not see only the quick calls among the later ones either.
    /// So the round begins when `calls` of the later calls have ended, two round trips later.
    Settle {
        since: Nanos,
        calls: u32,
        probe: bool,
    },
    Probe {
        since: Nanos,
    },
}

#[inline]
fn half(bounds: Bounds, limit: u32) -> u32 {
    (limit / 2).max(bounds.floor()).min(limit)
}

/// `limit · times`, and a quarter more, because both times err.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and nothing here is negative"
)]
fn scaled(limit: u32, times: f64) -> u32 {
    (f64::from(limit) * times * 1.25) as u32
}

/// Beyond the chance error of a round's mean, which is a tenth for exponential times.
const MUCH_LESS: f64 = 0.75;
const MUCH_MORE: f64 = 1.25;

/// The most that is believed of a first probe that found more. Half of that is believed at once.
const BELIEVED: f64 = 1.5;

/// Up to this multiple of the baseline, the mean of a round is that of calls that wait for no
/// other.
const NO_QUEUE: f64 = 1.05;

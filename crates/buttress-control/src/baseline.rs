use crate::rounds::Round;
use crate::span::Span;
use crate::{Nanos, Sample};

/// What a call takes that waits for nobody: measured, again and again, under half of the limit.
///
/// The least time ever seen is too low (one lucky call), and an average that follows the load rises with it
/// until no load is too much. So the limit is halved for a round now and then, as [BBR][bbr] does with its
/// window, and as [Envoy][envoy] goes down to three calls. A limit of up to twice what the service can work
/// on at once then keeps nobody waiting.
///
/// [bbr]: https://www.ietf.org/archive/id/draft-ietf-ccwg-bbr-02.html#section-5.3.4
/// [envoy]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    /// In nanoseconds; 0 while it is unknown.
    rtt: f64,
    phase: Phase,
    /// How many rounds pass from one probe to the next.
    gap: u32,
}

impl Baseline {
    pub(crate) const UNKNOWN: Self =
        Self { rtt: 0.0, phase: Phase::Between { rounds: FIRST_GAP }, gap: FIRST_GAP };

    pub(crate) const fn rtt(&self) -> Option<f64> {
        if self.rtt > 0.0 { Some(self.rtt) } else { None }
    }

    pub(crate) const fn know(&mut self, rtt: f64) {
        self.rtt = rtt;
    }

    #[inline]
    pub(crate) fn cap(&self, span: Span, limit: u32) -> u32 {
        match self.phase {
            Phase::Between { .. } => limit,
            Phase::Drain { .. } | Phase::Probe => half(span, limit),
        }
    }

    /// Whether a sample belongs to a round, and not to the time between the lower limit and the probe.
    #[inline]
    pub(crate) fn admits(&mut self, sample: Sample) -> bool {
        let Phase::Drain { since, calls } = &mut self.phase else { return true };
        if sample.started >= *since {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                self.phase = Phase::Probe;
            }
        }
        false
    }

    /// Learns from a round without drops, and returns whether it was a probe.
    pub(crate) fn learn(&mut self, span: Span, limit: u32, round: Round, now: Nanos) -> bool {
        let Phase::Between { rounds } = &mut self.phase else {
            self.gap = (2 * self.gap).min(LAST_GAP);
            self.adopt(round.rtt);
            self.phase = Phase::Between { rounds: self.gap };
            return true;
        };
        // While the limit refuses nobody, a lower one would for no need.
        let full = round.in_flight >= limit;
        if self.rtt == 0.0 || (full && half(span, limit) == limit) {
            self.adopt(round.rtt);
        } else if full {
            *rounds = rounds.saturating_sub(1);
            // Faster under load than without any: the service has changed.
            if *rounds == 0 || round.rtt < self.rtt / 2.0 {
                self.phase = Phase::Drain { since: now, calls: limit };
            }
        }
        false
    }

    /// Ends a probe in which calls were dropped: it has measured nothing.
    pub(crate) fn give_up(&mut self) {
        if let Phase::Drain { .. } | Phase::Probe = self.phase {
            self.phase = Phase::Between { rounds: self.gap };
        }
    }

    /// Much less than before means that calls had waited, and is taken as it is. Much more may be a queue that
    /// has not drained yet, and is believed by a quarter at a time.
    fn adopt(&mut self, rtt: f64) {
        if self.rtt == 0.0 {
            self.rtt = rtt;
            return;
        }
        let faster = rtt < self.rtt * MUCH_LESS;
        if faster || rtt > self.rtt * MUCH_MORE {
            self.gap = FIRST_GAP;
        }
        let believed = rtt.min(self.rtt * MUCH_MORE);
        self.rtt = if faster { rtt } else { f64::midpoint(self.rtt, believed) };
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Between {
        rounds: u32,
    },
    /// The limit is down. A probe must not see those who waited before, and it must not see only the quick
    /// ones of those who came after: so it begins when so many of these have ended, two round trips later.
    Drain {
        since: Nanos,
        calls: u32,
    },
    Probe,
}

#[inline]
fn half(span: Span, limit: u32) -> u32 {
    (limit / 2).max(span.floor()).min(limit)
}

/// The first time is a guess under whatever load there was, and is soon checked.
const FIRST_GAP: u32 = 2;

/// Rare enough to cost about one call in a hundred.
const LAST_GAP: u32 = 64;

/// Beyond what chance does to the mean of a round.
const MUCH_LESS: f64 = 0.75;
const MUCH_MORE: f64 = 1.5;

use crate::rounds::Round;
use crate::span::Span;
use crate::{Nanos, Sample};

/// What a call takes that waits for nobody: measured, again and again, under half of the limit.
///
/// The least time ever seen is too low (one lucky call), and an average that follows the load rises with it
/// until no load is too much. So the limit is halved for a round now and then, as [BBR][bbr] does with its
/// window and [Envoy][envoy] with its limit: a limit of up to twice what the service can work on at
/// once then keeps nobody waiting.
///
/// [bbr]: https://www.ietf.org/archive/id/draft-ietf-ccwg-bbr-02.html#section-5.3.4
/// [envoy]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter
#[derive(Clone, Debug)]
pub(crate) struct NoLoad {
    /// In nanoseconds; 0 until the first round.
    rtt: f64,
    phase: Phase,
    /// Rounds between the probe before and the next.
    gap: u32,
}

impl NoLoad {
    pub(crate) const fn new() -> Self {
        Self { rtt: 0.0, phase: Phase::Between { rounds: FIRST_GAP }, gap: FIRST_GAP }
    }

    pub(crate) const fn rtt(&self) -> Option<f64> {
        if self.rtt > 0.0 { Some(self.rtt) } else { None }
    }

    #[inline]
    pub(crate) fn cap(&self, span: Span, limit: u32) -> u32 {
        match self.phase {
            Phase::Between { .. } => limit,
            _ => half(span, limit),
        }
    }

    /// Whether a sample belongs to the round: while probing, only those that were admitted under the
    /// lower limit, and after the calls before them are gone.
    #[inline]
    pub(crate) fn counts(&mut self, sample: Sample) -> bool {
        match &mut self.phase {
            Phase::Between { .. } => true,
            Phase::Probe { since } => sample.started >= *since,
            Phase::Drain { since, calls } => {
                if sample.started >= *since {
                    *calls -= 1;
                    if *calls == 0 {
                        self.phase = Phase::Probe { since: *since };
                    }
                }
                false
            }
        }
    }

    /// A probe in which calls are dropped measures nothing.
    pub(crate) fn give_up(&mut self) {
        if !matches!(self.phase, Phase::Between { .. }) {
            self.phase = Phase::Between { rounds: self.gap };
        }
    }

    /// Takes a round into account, and returns whether it was a probe.
    pub(crate) fn round(&mut self, span: Span, limit: u32, round: Round, now: Nanos) -> bool {
        match &mut self.phase {
            Phase::Between { rounds } => {
                let full = round.in_flight >= limit;
                if self.rtt == 0.0 || (full && half(span, limit) == limit) {
                    self.adopt(round.rtt);
                } else if full {
                    *rounds = rounds.saturating_sub(1);
                    if *rounds == 0 {
                        self.phase = Phase::Drain { since: now, calls: limit };
                    }
                }
                false
            }
            _ => {
                self.gap = (2 * self.gap).min(MAX_GAP);
                self.adopt(round.rtt);
                self.phase = Phase::Between { rounds: self.gap };
                true
            }
        }
    }

    fn adopt(&mut self, rtt: f64) {
        if self.rtt == 0.0 {
            self.rtt = rtt;
            return;
        }
        if !(0.75..=1.25).contains(&(rtt / self.rtt)) {
            self.gap = FIRST_GAP;
        }
        // Much faster can only be so if calls waited before. Much slower can be a queue that has not drained, so
        // it is believed by a quarter at a time.
        self.rtt = if rtt < 0.75 * self.rtt {
            rtt
        } else {
            f64::midpoint(self.rtt, rtt.min(1.5 * self.rtt))
        };
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Between {
        rounds: u32,
    },
    /// The limit has been lowered; what was in flight, and as many calls again, must be over first.
    Drain {
        since: Nanos,
        calls: u32,
    },
    Probe {
        since: Nanos,
    },
}

#[inline]
fn half(span: Span, limit: u32) -> u32 {
    (limit / 2).max(span.floor()).min(limit)
}

/// A law starts with a guess, and soon checks it.
const FIRST_GAP: u32 = 2;

/// Often enough to notice a change; rare enough to cost about one call in a hundred.
const MAX_GAP: u32 = 64;

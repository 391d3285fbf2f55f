use std::mem;

use crate::Nanos;
use crate::numbers::nanos::whole_nanos;

/// When to halve the limit for the next probe: a window of up to [`WINDOW`] round trips after the
/// lowest latency.
///
/// Several clients of a service, each with a limit of its own, must probe at the same time, because
/// half of a single limit does not empty the queue of the others. The clients see the same queue,
/// and so the same dip when one of them probes. Each client counts its time from the lowest dip.
/// The next time they come together, the dip is deeper, and the rest joins in. The flows of
/// [BBR][bbr] come to probe together in this way.
///
/// The time is counted in round trips, which are the same for all clients, and not in rounds, which
/// are longer for small limits.
///
/// [bbr]: https://www.ietf.org/archive/id/draft-ietf-ccwg-bbr-02.html#section-5.3.4
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The recent mean time of rounds, in nanoseconds. 0 before the first round.
    usual: f64,
    /// The number of rounds in that mean.
    rounds: u32,
    /// Whether the last round took much longer.
    odd: bool,
    /// The times of the last two rounds, the later first.
    last: [f64; 2],
    /// The mean time of rounds before these two.
    before: f64,
    /// The factor by which three rounds must be longer to be a jump. Infinite if only [`JUMP`]
    /// counts.
    small: f64,
    /// The lowest mean of a round since the last probe, and when that round began.
    low: f64,
    low_at: Nanos,
    /// When the current round began.
    began: Nanos,
    /// The length of the window, in round trips.
    times: f64,
    /// A probe is due after this many rounds, whatever the time. 0 if not so.
    soon: u32,
}

impl Schedule {
    /// The first measurement is a guess under the present load, and is soon checked.
    pub(crate) const FIRST: Self = Self {
        usual: 0.0,
        rounds: 0,
        odd: false,
        last: [0.0; 2],
        before: 0.0,
        small: SMALL_JUMP,
        low: f64::INFINITY,
        low_at: Nanos::new(0),
        began: Nanos::new(0),
        times: FIRST_WINDOW,
        soon: SOON,
    };

    /// The same for a service that has other clients. Their queue can grow by [`SMALL_JUMP`] within
    /// three of the long rounds of a small limit.
    pub(crate) const SHARED: Self = Self { small: f64::INFINITY, ..Self::FIRST };

    pub(crate) const fn begin(&mut self, now: Nanos) {
        self.began = now;
    }

    /// Starts over with this time, so that later rounds are not compared with earlier ones.
    pub(crate) const fn start_at(&mut self, rtt: f64) {
        self.usual = rtt;
        (self.last, self.before) = ([rtt; 2], rtt);
    }

    /// Learns from a round under the whole limit. Returns the jump if calls suddenly take much
    /// longer.
    pub(crate) fn see(&mut self, rtt: f64, baseline: f64, now: Nanos) -> Option<Jump> {
        let began = mem::replace(&mut self.began, now);
        if rtt < self.low {
            (self.low, self.low_at) = (rtt, began);
        }
        let odd = rtt > self.usual * JUMP && rtt > baseline * SLOWER && self.rounds >= KNOWN;
        let again = mem::replace(&mut self.odd, odd) && odd;
        if odd {
            return Some(Jump { before: self.usual, again, still: STILL, unmoved: ABOUT });
        }
        if self.rounds == 0 {
            self.usual = rtt;
        }
        self.rounds = self.rounds.saturating_add(1);
        self.usual += (rtt - self.usual) / AVERAGED;
        self.see_three(rtt, baseline)
    }

    /// Learns from the same round. Returns the jump if the last three rounds took longer than those
    /// before.
    fn see_three(&mut self, rtt: f64, baseline: f64) -> Option<Jump> {
        let [last, second] = self.last;
        self.last = [rtt, last];
        if self.rounds <= KNOWN {
            self.before = self.usual;
            return None;
        }
        let mean = (rtt + last + second) / 3.0;
        let each = rtt.min(last).min(second) > self.before * EACH;
        if each && mean > self.before.max(baseline) * self.small {
            return Some(Jump {
                before: self.before,
                again: true,
                still: self.small,
                unmoved: UNMOVED_SMALL,
            });
        }
        self.before += (second - self.before) / AVERAGED;
        None
    }

    /// Whether to probe now, at the end of a round in which the limit refused calls.
    pub(crate) fn is_due(&mut self, limit: u32, rtt: f64, now: Nanos) -> bool {
        if self.soon > 0 {
            self.soon -= 1;
            if self.soon == 0 {
                return true;
            }
        }
        let age = now.get().saturating_sub(self.low_at.get());
        let window = self.window(limit);
        age > window || (age > window / 2 && rtt < self.usual * DIP)
    }

    pub(crate) fn probed(&mut self, since: Nanos, rtt: f64, next: NextRound) {
        (self.low, self.low_at) = (rtt, since);
        self.soon = if matches!(next, NextRound::Soon) { SOON } else { 0 };
        self.times = match next {
            NextRound::Soon | NextRound::Early => FIRST_WINDOW,
            NextRound::Later => (2.0 * self.times).min(WINDOW),
        };
    }

    /// Ends a round because of drops. The time of the round does not count. If the round was a
    /// probe, the next probe is due a window later.
    pub(crate) const fn give_up(&mut self, now: Nanos, probed: bool) {
        let lost = now.get().saturating_sub(self.began.get());
        let low_at = Nanos::new(self.low_at.get().saturating_add(lost));
        (self.low_at, self.began) = (if probed { now } else { low_at }, now);
    }

    fn window(&self, limit: u32) -> u64 {
        whole_nanos(self.times * self.usual * (LONG / f64::from(limit)).max(1.0))
    }
}

/// When to probe after a probe.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NextRound {
    /// After [`SOON`] rounds, because the probe has found something new.
    Soon,
    /// After the [`FIRST_WINDOW`], because half of the limit was still too much.
    Early,
    /// After a window twice as long as the last.
    Later,
}

/// A sudden increase of the time of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jump {
    before: f64,
    /// Whether this is a further round of the jump. The first round may hold calls from before.
    pub(crate) again: bool,
    /// The factor by which calls must still take longer.
    still: f64,
    /// The share of their former time that calls must take under half of the limit.
    unmoved: f64,
}

impl Jump {
    /// Whether calls still take that much longer under half of the limit. `full` is their time
    /// under the whole limit.
    pub(crate) fn is_confirmed_by(self, rtt: f64, full: f64) -> bool {
        rtt > self.before * self.still && rtt > full * self.unmoved
    }
}

/// The round trips between two probes. With a limit of 16 a probe takes about 15 of them, under
/// half of the limit: about two calls in a hundred.
const WINDOW: f64 = 256.0;

/// The first window, which doubles from probe to probe. A probe that has found something new errs
/// like any single measurement, and the next probes are to be averaged with it.
const FIRST_WINDOW: f64 = 32.0;

/// Below this limit the window is longer, because a probe needs a hundred calls and takes long.
const LONG: f64 = 10.0;

/// The rounds until the next probe, if a probe has found something new.
const SOON: u32 = 2;

/// The mean of a hundred exponential times errs by a tenth, so 1.45 twice in a row is no chance. A
/// queue grows to that over many rounds. A step of the service by 1.8 is still seen if half of the
/// first round was before the step.
const JUMP: f64 = 1.45;

/// The mean of three rounds errs by 0.06, and that of those before by 0.04, so a step by 1.3 is
/// seen in most cases. A probe must find as much.
const SMALL_JUMP: f64 = 1.2;

/// Each of the three rounds must be longer by this factor: a round that holds calls from before
/// says nothing.
const EACH: f64 = 1.1;

/// If the limit keeps a fifth of its calls waiting, half of the limit makes calls quicker by a
/// fifth. A mean errs by half of that.
const UNMOVED_SMALL: f64 = 0.9;

/// A jump must also be above the baseline by more than chance. Otherwise it may be the way back
/// from a dip.
const SLOWER: f64 = 1.25;

/// What a probe must find of a jump: a tenth less than [`JUMP`], because a mean errs by that.
const STILL: f64 = 1.35;

/// The rounds that must have been seen before a round can stand out: half of what is averaged.
const KNOWN: u32 = 4;

/// The rounds over which the usual time is averaged: enough to be steady, and few enough to follow
/// a queue that grows.
const AVERAGED: f64 = 8.0;

/// In the second half of a window, a time this far below the usual time counts as another client's
/// probe. If the dip was chance, the probe comes a little early.
const DIP: f64 = 0.95;

/// Two times are about the same if the lower is more than this share of the higher.
pub(crate) const ABOUT: f64 = 2.0 / 3.0;

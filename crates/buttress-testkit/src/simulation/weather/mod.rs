use std::hash::Hash;
use std::time::Duration;

use self::draw::random;
use self::latency::Latency;
use crate::seeded_random::SeededRandom;

mod condition;
mod draw;
mod latency;
mod spell;

pub use self::condition::Condition;
use self::spell::Spell;

/// The conditions that calls meet: latency, faults, hangs, throttling and outages.
///
/// A weather is a function of the seed, the key of a call and the time since the start. It is no
/// sequence of draws. So neither other calls nor their number changes the condition of a call, and
/// two stacks can be compared under the same weather. Two calls with the same key at the same
/// instant meet the same condition.
///
/// ```
/// use buttress_testkit::{Condition, Weather};
/// use std::time::Duration;
///
/// let s = Duration::from_secs;
/// let weather = Weather::seeded(7).faults(0.2).outage(s(3), s(6));
/// assert_eq!(weather.at(&"key", s(1)), weather.clone().at(&"key", s(1)));
/// assert_eq!(weather.at(&"key", s(4)), Condition::Fault(Duration::ZERO));
/// ```
///
/// # Options
///
/// Each option draws apart, so an option changes only what its docs say. Shares are clamped to 0 to
/// 1, and NaN counts as 0. If the shares of hangs, faults and throttling sum to more than 1, hangs
/// come first, then faults. Spells, such as an outage, include their start and exclude their end.
///
/// # Platforms
///
/// The draws are the same on every machine. A latency is rounded to whole microseconds, because the
/// last digit of a logarithm may differ. A key that hashes a slice of numbers hashes their bytes in
/// the order of the machine.
#[derive(Clone, Debug)]
pub struct Weather {
    seed: u64,
    latency: Latency,
    hangs: f64,
    faults: f64,
    throttles: f64,
    retry_after: Duration,
    slow: f64,
    slow_factor: f64,
    block: u32,
    spells: Vec<Spell>,
}

impl Weather {
    /// Creates a weather in which every call is clear and takes no time.
    pub const fn seeded(seed: u64) -> Self {
        Self {
            seed,
            latency: Latency::NONE,
            hangs: 0.0,
            faults: 0.0,
            throttles: 0.0,
            retry_after: Duration::ZERO,
            slow: 0.0,
            slow_factor: 1.0,
            block: 0,
            spells: Vec::new(),
        }
    }

    /// Sets the latency to a uniform draw from `min` to `max`. A `max` below `min` counts as `min`.
    pub fn latency(mut self, min: Duration, max: Duration) -> Self {
        self.latency = Latency::uniform(min, max);
        self
    }

    /// Sets the latency to a lognormal draw with this median and this 99th percentile. A `p99`
    /// below `p50` counts as `p50`.
    pub fn lognormal(mut self, p50: Duration, p99: Duration) -> Self {
        self.latency = Latency::lognormal(p50, p99);
        self
    }

    /// Sets the share of calls that fail, after their latency. Default: 0.
    pub const fn faults(mut self, share: f64) -> Self {
        self.faults = clamped(share);
        self
    }

    /// Sets the share of calls that never get a response. Default: 0.
    pub const fn hangs(mut self, share: f64) -> Self {
        self.hangs = clamped(share);
        self
    }

    /// Sets the share of calls that the upstream refuses, after their latency, with the hint to
    /// retry after `retry_after`. Default: 0.
    pub const fn throttles(mut self, share: f64, retry_after: Duration) -> Self {
        (self.throttles, self.retry_after) = (clamped(share), retry_after);
        self
    }

    /// Multiplies the latency of a share of the calls by `factor`. A factor of NaN counts as 1, and
    /// a negative one as 0. Calls that fail are not slow, unless all shares sum to more than 1.
    pub const fn slow_tail(mut self, share: f64, factor: f64) -> Self {
        (self.slow, self.slow_factor) = (clamped(share), positive(factor));
        self
    }

    /// Adds an outage: every call that begins in it fails at once. Can be called several times.
    pub fn outage(mut self, from: Duration, to: Duration) -> Self {
        self.spells.push(Spell::outage(from, to));
        self
    }

    /// Adds an outage in which calls never get a response. Can be called several times. If it
    /// overlaps with an [outage](Self::outage), calls hang.
    pub fn silence(mut self, from: Duration, to: Duration) -> Self {
        self.spells.push(Spell::silence(from, to));
        self
    }

    /// Adds a brownout: the latency of calls that begin in it is multiplied by `factor`. The
    /// factors of brownouts that overlap are multiplied. A factor of NaN counts as 1, and a
    /// negative one as 0.
    pub fn brownout(mut self, from: Duration, to: Duration, factor: f64) -> Self {
        self.spells.push(Spell::brownout(from, to, positive(factor)));
        self
    }

    /// Makes the shares exact in each block of `length` calls, for [`numbered`](Self::numbered).
    /// Zero, the default, draws each call apart.
    ///
    /// With a block of 40 and a share of 0.2 exactly eight of the calls 0 to 39 fail, and eight of
    /// the calls 40 to 79. The seed decides which. In a run of any length the share is then as
    /// stated.
    pub const fn blocks_of(mut self, length: u32) -> Self {
        self.block = length;
        self
    }

    /// Returns the condition of a call with this `key` that begins at `since`, the time since the
    /// start of the simulation.
    pub fn at<K: Hash + ?Sized>(&self, key: &K, since: Duration) -> Condition {
        let mut random = random(self.seed, key, since);
        let lot = random.uniform();
        self.condition(lot, &mut random, since)
    }

    /// Returns the condition of call number `number`, from 0, that begins at `since`.
    ///
    /// The number stands for the key and the instant: only the spells depend on `since`. See
    /// [`blocks_of`](Self::blocks_of).
    pub fn numbered(&self, number: u64, since: Duration) -> Condition {
        let mut random = random(self.seed, &number, Duration::ZERO);
        let lot = match (random.uniform(), self.block) {
            (lot, 0) => lot,
            (within, length) => draw::stratified(self.seed, number, length, within),
        };
        self.condition(lot, &mut random, since)
    }

    /// `lot` decides the kind of the condition: the failing calls have the lowest lots, and the
    /// slow ones the highest.
    fn condition(&self, lot: f64, random: &mut SeededRandom, since: Duration) -> Condition {
        let active = || self.spells.iter().filter(|spell| spell.covers(since));
        if active().any(Spell::is_silence) {
            return Condition::Hang;
        }
        if active().any(Spell::is_outage) {
            return Condition::Fault(Duration::ZERO);
        }
        let slow_factor = if lot > 1.0 - self.slow { self.slow_factor } else { 1.0 };
        let latency = self.latency.draw(random, slow_factor * Spell::factor(active()));
        let failing = self.hangs + self.faults;
        if lot <= self.hangs {
            Condition::Hang
        } else if lot <= failing {
            Condition::Fault(latency)
        } else if lot <= failing + self.throttles {
            Condition::Throttled { retry_after: self.retry_after, latency }
        } else {
            Condition::Clear(latency)
        }
    }
}

/// A share from 0 to 1. NaN is 0.
const fn clamped(share: f64) -> f64 {
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}

/// A factor of at least 0. NaN is 1.
const fn positive(factor: f64) -> f64 {
    if factor.is_nan() { 1.0 } else { factor.max(0.0) }
}

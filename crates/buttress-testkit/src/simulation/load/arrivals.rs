use std::time::Duration;

use crate::seeded_random::SeededRandom;

/// When calls begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrivals {
    Every(Duration),
    Poisson(Duration),
    Callers { callers: usize, think: Duration },
}

/// The times of an open load, since its start.
pub(super) struct Times {
    gap: Duration,
    is_random: bool,
    random: SeededRandom,
    next: Duration,
}

impl Times {
    pub(super) fn every(gap: Duration) -> Self {
        Self::new(gap, false, 0)
    }

    pub(super) fn poisson(gap: Duration, seed: u64) -> Self {
        Self::new(gap, true, seed)
    }

    fn new(gap: Duration, is_random: bool, seed: u64) -> Self {
        let random = SeededRandom::seeded(seed);
        Self { gap: gap.max(SHORTEST), is_random, random, next: Duration::ZERO }
    }
}

impl Iterator for Times {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let time = self.next;
        // A factor of at most 37, the logarithm of 2^53: no overflow short of 10^10 years.
        let factor = if self.is_random { -self.random.uniform().ln() } else { 1.0 };
        let gap = Duration::try_from_secs_f64(self.gap.as_secs_f64() * factor);
        self.next = time.saturating_add(gap.unwrap_or(Duration::MAX));
        Some(time)
    }
}

const SHORTEST: Duration = Duration::from_micros(1);

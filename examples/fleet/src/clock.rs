//! A clock that all processes of this machine read alike.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Microseconds of the wall clock at the start, counted on by the monotonic clock.
///
/// Instants of two processes cannot be compared, and a wall clock can step. So each process reads the wall
/// clock once, next to an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedClock {
    origin: Instant,
    micros: u64,
}

impl SharedClock {
    /// Reads both clocks. Of several readings, the closest pair is taken.
    pub(crate) fn read() -> Self {
        let pair = || {
            let before = Instant::now();
            let micros = wall_clock();
            (before.elapsed(), Self { origin: before, micros })
        };
        let (_, closest) = (0..READINGS).map(|_| pair()).min_by_key(|(took, _)| *took).unzip();
        closest.unwrap_or_else(|| pair().1)
    }

    pub(crate) fn now(&self) -> u64 {
        self.micros + micros(self.origin.elapsed())
    }

    /// Returns the instant of this process at that time. A time before the first reading is the reading.
    pub(crate) fn instant(&self, time: u64) -> Instant {
        self.origin + Duration::from_micros(time.saturating_sub(self.micros))
    }

    /// Returns by how much the wall clock has stepped since the reading.
    pub(crate) fn stepped(&self) -> Duration {
        Duration::from_micros(self.now().abs_diff(wall_clock()))
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the only clock that two processes share")]
fn wall_clock() -> u64 {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

const READINGS: u32 = 20;

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::nanos::as_nanos;

/// When a store told last that it has an entry, in nanoseconds since [`origin`].
#[derive(Debug)]
pub(super) struct Told(AtomicU64);

impl Told {
    pub(super) fn now() -> Self {
        Self(AtomicU64::new(nanos(Instant::now())))
    }

    pub(super) fn renew(&self) {
        // Relaxed here and below: the time stands for itself.
        self.0.store(nanos(Instant::now()), Ordering::Relaxed);
    }

    /// Whether less than `ttl` nanoseconds have passed at `now`.
    ///
    /// A difference of two instants takes 60 instructions, and a comparison takes 5. So each thread knows an
    /// instant that lies ahead. Before that instant, at most the time until then has passed.
    #[inline]
    pub(super) fn is_within(&self, ttl: u64, now: Instant) -> bool {
        let told = self.0.load(Ordering::Relaxed);
        AHEAD
            .get()
            .is_some_and(|ahead| now < ahead.instant && ahead.nanos.saturating_sub(told) < ttl)
            || is_within(told, ttl, now)
    }
}

/// Exact, and sets the instant ahead of this thread.
#[inline(never)]
fn is_within(told: u64, ttl: u64, now: Instant) -> bool {
    let nanos = nanos(now);
    let ahead = |instant| Ahead { instant, nanos: nanos.saturating_add(as_nanos(STEP)) };
    AHEAD.set(now.checked_add(STEP).map(ahead));
    nanos.saturating_sub(told) < ttl
}

/// An instant a little ahead of the last one that this thread has seen.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    instant: Instant,
    /// The same instant in nanoseconds since [`origin`].
    nanos: u64,
}

thread_local! {
    // `const` and without a destructor, so the cell is usable while a thread ends.
    static AHEAD: Cell<Option<Ahead>> = const { Cell::new(None) };
}

fn nanos(now: Instant) -> u64 {
    as_nanos(now.saturating_duration_since(origin()))
}

/// An instant before all that tokio's clocks tell.
#[expect(
    clippy::disallowed_methods,
    reason = "a paused clock may be ahead of the paused clock of another runtime"
)]
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        let now = Instant::from_std(std::time::Instant::now());
        // A clock that was paused before stands behind the clock of the system.
        now.checked_sub(DAY).unwrap_or(now)
    })
}

/// How far ahead the instant of a thread is.
const STEP: Duration = Duration::from_millis(1);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    /// Whether it was told within a minute, `nanos` after `start`.
    fn is_told(told: &Told, start: Instant, nanos: u64) -> bool {
        told.is_within(MINUTE, start + Duration::from_nanos(nanos))
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_is_exact_whatever_instant_the_thread_has_seen() {
        let (told, start) = (Told::now(), Instant::now());
        let step = u64::try_from(STEP.as_nanos()).unwrap_or(u64::MAX);
        for seen in [0, 1, MINUTE - step - 1, MINUTE - step, MINUTE - 1, MINUTE, 2 * MINUTE] {
            for asked in [0, MINUTE - step, MINUTE - 1, MINUTE, MINUTE + 1, 3 * MINUTE] {
                is_told(&told, start, seen);
                assert_eq!(is_told(&told, start, asked), asked < MINUTE, "{asked} after {seen}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_is_within_zero() {
        let (told, start) = (Told::now(), Instant::now());
        assert!(is_told(&told, start, 0));
        assert!(!told.is_within(0, start));
    }

    #[tokio::test(start_paused = true)]
    async fn renewal_begins_the_time_again() {
        let (told, start) = (Told::now(), Instant::now());
        tokio::time::advance(Duration::from_nanos(MINUTE)).await;
        assert!(!is_told(&told, start, MINUTE));
        told.renew();
        assert!(is_told(&told, start, 2 * MINUTE - 1));
        assert!(!is_told(&told, start, 2 * MINUTE));
    }
}

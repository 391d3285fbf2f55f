use std::{num::NonZeroU64, sync::OnceLock, time::Duration};

use tokio::time::Instant;

/// An instant in eight bytes, so that a [`Deadline`](crate::Deadline) holds two in the size of one.
///
/// It counts nanoseconds on a scale of the process, whose middle is the first instant it was asked
/// for. An instant 292 years away is [`NEVER`](Self::NEVER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(NonZeroU64);

impl Moment {
    /// Later than any instant.
    pub(crate) const NEVER: Self = Self(NonZeroU64::MAX);

    #[inline]
    pub(crate) fn now() -> Self {
        Self::of(Instant::now())
    }

    #[inline]
    pub(crate) fn of(instant: Instant) -> Self {
        let middle = middle();
        let nanos = match instant.checked_duration_since(middle) {
            Some(after) => MIDDLE.saturating_add(nanos(after)),
            None => MIDDLE.saturating_sub(nanos(middle.duration_since(instant))),
        };
        Self(NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN))
    }

    #[inline]
    pub(crate) fn instant(self) -> Instant {
        let (nanos, middle) = (self.0.get(), middle());
        let instant = match nanos.checked_sub(MIDDLE) {
            Some(after) => middle.checked_add(Duration::from_nanos(after)),
            None => middle.checked_sub(Duration::from_nanos(MIDDLE - nanos)),
        };
        instant.unwrap_or(middle)
    }

    #[inline]
    pub(crate) const fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// The time from `earlier` to this; zero if it is not later.
    #[inline]
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

#[inline]
fn middle() -> Instant {
    *SCALE.get_or_init(Instant::now)
}

#[inline]
const fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(PER_SECOND).saturating_add(time.subsec_nanos() as u64)
}

static SCALE: OnceLock<Instant> = OnceLock::new();

const MIDDLE: u64 = 1 << 63;
const PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Moment;

    #[test]
    fn an_instant_comes_back_as_it_was_on_both_sides_of_the_middle() {
        let before = Instant::now();
        let _ = Moment::now();
        for offset in [0, 1, 999_999_999, 1_000_000_000, 86_400_000_000_001] {
            let offset = Duration::from_nanos(offset);
            assert_eq!(Moment::of(before + offset).instant(), before + offset);
            if let Some(earlier) = before.checked_sub(offset) {
                assert_eq!(Moment::of(earlier).instant(), earlier);
                assert_eq!(Moment::of(earlier).after(offset), Moment::of(before));
                assert_eq!(Moment::of(before).since(Moment::of(earlier)), offset);
            }
        }
    }

    #[test]
    fn an_instant_too_far_away_is_the_end_of_the_scale() {
        let now = Instant::now();
        let far = Duration::from_secs(400 * 365 * 24 * 60 * 60);
        assert_eq!(now.checked_add(far).map(Moment::of), Some(Moment::NEVER));
        assert_eq!(Moment::of(now).after(Duration::MAX), Moment::NEVER);
        assert!(Moment::NEVER.instant() > now);
        assert!(now.checked_sub(far).is_none_or(|past| Moment::of(past) < Moment::of(now)));
    }
}

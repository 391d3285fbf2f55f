use tokio::time::Instant;

/// Tells a silent connection from a slow reply.
///
/// Time-outs count only in sequence: a request that was sent before the last counted time-out is part
/// of the same wave.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    counted: u32,
    last: Option<Instant>,
}

impl Timeouts {
    /// Notes that the request of `sent` had no reply by `now`. Returns whether the connection is to be
    /// replaced.
    pub(super) fn timed_out(&mut self, sent: Instant, now: Instant) -> bool {
        if self.last.is_none_or(|last| sent >= last) {
            self.counted += 1;
            self.last = Some(now);
        }
        self.counted >= MOST
    }

    /// Notes that a reply came.
    pub(super) fn replied(&mut self) {
        *self = Self::default();
    }
}

const MOST: u32 = 3;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn three_sequential_timeouts_replace_the_connection() {
        let (mut timeouts, start) = (Timeouts::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!timeouts.timed_out(at(0), at(25)));
        assert!(!timeouts.timed_out(at(25), at(50)));
        assert!(timeouts.timed_out(at(60), at(85)));
    }

    #[test]
    fn wave_that_times_out_together_counts_once() {
        let (mut timeouts, start) = (Timeouts::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for sent in 0..20 {
            assert!(!timeouts.timed_out(at(sent), at(sent + 25)), "request of {sent} ms");
        }
        assert!(!timeouts.timed_out(at(25), at(50)));
        assert!(timeouts.timed_out(at(50), at(75)));
    }

    #[test]
    fn reply_between_two_timeouts_begins_the_count_anew() {
        let (mut timeouts, start) = (Timeouts::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!timeouts.timed_out(at(0), at(25)));
        assert!(!timeouts.timed_out(at(25), at(50)));
        timeouts.replied();
        assert!(!timeouts.timed_out(at(60), at(85)));
        assert!(!timeouts.timed_out(at(85), at(110)));
        assert!(timeouts.timed_out(at(110), at(135)));
    }
}

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The usual latency of accepted calls, and the time after which a call without an answer is late.
/// In nanoseconds.
#[derive(Debug)]
pub(crate) struct Usual {
    /// Most accepted calls take no longer.
    latency: AtomicU64,
    /// The latency assumed at first, and while no call is known to have been accepted lately.
    assumed: u64,
    /// The maximum time until a call is late.
    longest: u64,
}

impl Usual {
    pub(crate) const DEFAULT_LATENCY: u64 = 250_000_000;

    pub(crate) fn assuming(latency: u64, longest: u64) -> Self {
        Self { latency: AtomicU64::new(latency), assumed: latency, longest }
    }

    /// The same assumption, before anything was learned.
    pub(crate) fn fresh(&self) -> Self {
        Self::assuming(self.assumed, self.longest)
    }

    pub(crate) fn assume(&mut self, latency: u64) {
        *self = Self::assuming(latency, self.longest);
    }

    pub(crate) const fn wait_at_most(&mut self, longest: u64) {
        self.longest = longest;
    }

    /// How long a call may be in flight before it is late: twice the usual latency.
    #[inline]
    pub(crate) fn patience(&self, accepts: u64) -> u64 {
        let usual = self.latency.load(Relaxed).max(LEAST);
        // A service that hangs teaches nothing. Without this, a low estimate of long ago would
        // count its calls as late too early.
        let usual = if accepts == 0 { usual.max(self.assumed) } else { usual };
        usual.saturating_mul(2).min(self.longest)
    }

    /// Learns from an accepted call.
    ///
    /// This is the "frugal" estimator of Ma, Muthukrishnan and Sandler (2014), with steps in
    /// proportion: up by 19 for a step down of 1, but never past the call. So the estimate rests
    /// where about a tenth of the calls take longer.
    #[inline]
    pub(crate) fn learn(&self, took: u64) {
        let latency = self.latency.load(Relaxed);
        let step = latency / 64 + 1;
        let next = if took > latency {
            latency.saturating_add(step.saturating_mul(19)).min(took)
        } else {
            latency.saturating_sub(step).max(took)
        };
        // A store, and no compare-and-swap: of two concurrent calls, the step of one may be lost.
        if next != latency {
            self.latency.store(next, Relaxed);
        }
    }
}

/// Less than 5 ms is within what a busy scheduler adds.
const LEAST: u64 = 5_000_000;

#[cfg(all(test, not(buttress_loom)))]
mod tests {
    use super::Usual;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn most_calls_stay_below_the_usual_latency() {
        let usual = Usual::assuming(Usual::DEFAULT_LATENCY, u64::MAX);
        // 7919 is prime to 10,000, so this is each time below 10 s once, well mixed.
        for n in 0..10_000 {
            usual.learn(n * 7919 % 10_000 * MILLI);
        }
        let patience = usual.patience(1) / MILLI;
        assert!((14_000..=20_000).contains(&patience), "{patience}");
    }

    #[test]
    fn few_calls_teach_a_longer_latency() {
        let usual = Usual::assuming(Usual::DEFAULT_LATENCY, u64::MAX);
        (0..1000).for_each(|_| usual.learn(10 * MILLI));
        assert_eq!(usual.patience(1), 20 * MILLI);
        (0..20).for_each(|_| usual.learn(1000 * MILLI));
        assert_eq!(usual.patience(1), 2000 * MILLI);
    }

    #[test]
    fn patience_has_bounds() {
        let usual = Usual::assuming(0, 60_000 * MILLI);
        assert_eq!(usual.patience(0), 10 * MILLI);
        usual.learn(1);
        assert_eq!(usual.patience(1), 10 * MILLI);
        (0..1000).for_each(|_| usual.learn(u64::MAX));
        assert_eq!(usual.patience(1), 60_000 * MILLI);
    }
}

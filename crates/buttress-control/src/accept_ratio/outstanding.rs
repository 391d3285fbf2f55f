use crate::Nanos;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The calls in flight, by the time they were made: young calls, which may still be answered in
/// time, and late calls.
///
/// Calls made one after the other share a generation, an eighth of the time after which they are
/// late. So a call is late at most an eighth after its time. A generation is reused once all its
/// calls are late. Until then, calls that find no free generation join the newest.
///
/// All orderings are relaxed. The count of a generation and its two times are separate words. A
/// reader that sees them out of step counts a few calls as young or late for the length of a
/// generation.
#[derive(Debug)]
pub(crate) struct Outstanding {
    /// The number of the newest generation.
    newest: AtomicU64,
    generations: [Generation; GENERATIONS],
}

#[derive(Debug)]
struct Generation {
    /// The number of the generation, and how many of its calls are in flight.
    word: AtomicU64,
    /// When its first and its latest call were made, in nanoseconds.
    first: AtomicU64,
    latest: AtomicU64,
}

impl Outstanding {
    pub(crate) fn new() -> Self {
        let generation = || Generation {
            word: AtomicU64::new(0),
            first: AtomicU64::new(0),
            latest: AtomicU64::new(0),
        };
        Self { newest: AtomicU64::new(0), generations: std::array::from_fn(|_| generation()) }
    }

    /// Counts a call made now. Returns the number of its generation.
    #[inline]
    pub(crate) fn begin(&self, now: Nanos, patience: u64) -> u64 {
        let newest = self.newest.load(Relaxed);
        let current = self.generation(newest);
        let age = now.get().saturating_sub(current.first.load(Relaxed));
        let number = if age >= (patience / PARTS).max(1) {
            self.open(newest.wrapping_add(1), now, patience).unwrap_or(newest)
        } else {
            newest
        };
        let generation = self.generation(number);
        // Does nothing if another thread has reused the generation since `newest` was read. The
        // call then counts as late at once, and `leave` finds the other number too.
        generation.join(number);
        // No read-modify-write, to save an atomic operation: of two concurrent calls, the time of
        // the earlier may stay.
        if generation.latest.load(Relaxed) < now.get() {
            generation.latest.store(now.get(), Relaxed);
        }
        number
    }

    /// Ends a call that joined this generation.
    #[inline]
    pub(crate) fn end(&self, number: u64) {
        self.generation(number).leave(number);
    }

    /// The number of calls that are in flight and not late yet.
    pub(crate) fn young(&self, now: Nanos, patience: u64) -> u64 {
        let young = |generation: &&Generation| !generation.is_late(now, patience);
        self.generations.iter().filter(young).map(Generation::count).sum()
    }

    /// Begins a generation, if there is a generation whose calls are late.
    #[cold]
    fn open(&self, number: u64, now: Nanos, patience: u64) -> Option<u64> {
        let generation = self.generation(number);
        let word = generation.word.load(Relaxed);
        let begun = |word: u64| word >> COUNT_BITS == number & NUMBERS;
        if !begun(word) && word & MAX_COUNT > 0 && !generation.is_late(now, patience) {
            return None;
        }
        // Must run before the times are set: otherwise the calls of the former generation would
        // look young again. If another thread has begun this generation already, its calls stay.
        let empty = (number & NUMBERS) << COUNT_BITS;
        let _ =
            generation.word.fetch_update(Relaxed, Relaxed, |word| (!begun(word)).then_some(empty));
        // `fetch_max`: another thread may have begun this generation with a later time.
        generation.first.fetch_max(now.get(), Relaxed);
        generation.latest.fetch_max(now.get(), Relaxed);
        // Last: a call that finds this number takes the age of the generation from `first`.
        self.newest.fetch_max(number, Relaxed);
        Some(number)
    }

    #[inline]
    fn generation(&self, number: u64) -> &Generation {
        let [first, ..] = &self.generations;
        let index = usize::try_from(number % GENERATIONS as u64).unwrap_or(0);
        self.generations.get(index).unwrap_or(first)
    }
}

impl Generation {
    #[inline]
    fn join(&self, number: u64) {
        self.change(number, |count| (count < MAX_COUNT).then_some(count + 1));
    }

    /// Does nothing if the generation has been reused, because the call was late then.
    #[inline]
    fn leave(&self, number: u64) {
        self.change(number, |count| count.checked_sub(1));
    }

    #[inline]
    fn change(&self, number: u64, change: impl Fn(u64) -> Option<u64>) {
        // The number and the count are in one word, so a call never changes the count of a later
        // generation in the same place.
        let _ = self.word.fetch_update(Relaxed, Relaxed, |word| {
            if word >> COUNT_BITS != number & NUMBERS {
                return None;
            }
            let count = change(word & MAX_COUNT)?;
            Some((word & !MAX_COUNT) | count)
        });
    }

    fn count(&self) -> u64 {
        self.word.load(Relaxed) & MAX_COUNT
    }

    fn is_late(&self, now: Nanos, patience: u64) -> bool {
        now.get() >= self.latest.load(Relaxed).saturating_add(patience)
    }
}

/// Half as many again as hold young calls, because a shorter patience leaves longer generations
/// behind.
const GENERATIONS: usize = if cfg!(buttress_loom) { 2 } else { 16 };

/// The generations in the time after which a call is late.
const PARTS: u64 = 8;

const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;

const NUMBERS: u64 = u64::MAX >> COUNT_BITS;

const COUNT_BITS: u32 = 32;

#[cfg(all(test, not(buttress_loom)))]
mod tests {
    use super::{Nanos, Outstanding};

    const PATIENCE: u64 = 800;

    fn at(nanos: u64) -> Nanos {
        Nanos::new(nanos)
    }

    #[test]
    fn call_is_young_for_the_patience_and_at_most_an_eighth_longer() {
        let calls = Outstanding::new();
        for made in 5000..5100 {
            calls.begin(at(made), PATIENCE);
        }
        assert_eq!(calls.young(at(5799), PATIENCE), 100);
        assert_eq!(calls.young(at(5900), PATIENCE), 0);
    }

    #[test]
    fn ended_call_is_not_in_flight_whatever_came_after() {
        let calls = Outstanding::new();
        let early: Vec<_> = (0..50).map(|n| calls.begin(at(1000 + n), PATIENCE)).collect();
        let late: Vec<_> = (0..50).map(|n| calls.begin(at(1600 + n), PATIENCE)).collect();
        for call in late {
            calls.end(call);
        }
        assert_eq!(calls.young(at(1700), PATIENCE), 50);
        for call in early {
            calls.end(call);
        }
        assert_eq!(calls.young(at(1700), PATIENCE), 0);
    }

    #[test]
    fn changed_patience_loses_no_young_call() {
        let calls = Outstanding::new();
        // Generations of 100 ns fill the ring before the patience is 1,000 times as long.
        for n in 0..6000 {
            calls.begin(at(n), PATIENCE);
        }
        let out: Vec<_> = (6000..7000).map(|n| calls.begin(at(n), 1000 * PATIENCE)).collect();
        assert!(calls.young(at(7000), 1000 * PATIENCE) >= 1000);
        for call in out {
            calls.end(call);
        }
        let after = calls.young(at(7000), PATIENCE);
        assert!(after <= 1000, "{after}");
        assert_eq!(calls.young(at(7000 + 1000 * PATIENCE), 1000 * PATIENCE), 0);
    }

    #[test]
    fn call_after_a_long_rest_begins_a_generation() {
        let calls = Outstanding::new();
        calls.begin(at(1), PATIENCE);
        let second = calls.begin(at(1_000_000), PATIENCE);
        assert_eq!(calls.young(at(1_000_001), PATIENCE), 1);
        calls.end(second);
        assert_eq!(calls.young(at(1_000_001), PATIENCE), 0);
    }
}

use crate::Nanos;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many calls are out, by when they were made: young ones, which may yet be answered in time, and
/// the others, which are late.
///
/// Calls made one after the other share a generation, an eighth of the time after which they are late. So
/// a call is late at most an eighth after its time. A generation is reused once all of its calls are
/// late; until then, calls that find none free join the newest.
///
/// All orderings are relaxed: a generation's count and its two dates are separate words, and a reader
/// that sees them out of step counts a few calls as young or late for the length of a generation.
#[derive(Debug)]
pub(crate) struct Outstanding {
    /// The number of the newest generation.
    newest: AtomicU64,
    generations: [Generation; GENERATIONS],
}

#[derive(Debug)]
struct Generation {
    /// Its number, and how many of its calls are out.
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

    /// A call is made now. Returns the number of its generation.
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
        generation.join(number);
        // No read-modify-write: two calls at once may leave the date of the earlier.
        if generation.latest.load(Relaxed) < now.get() {
            generation.latest.store(now.get(), Relaxed);
        }
        number
    }

    /// A call has ended that joined this generation.
    #[inline]
    pub(crate) fn end(&self, number: u64) {
        self.generation(number).leave(number);
    }

    /// How many calls are out and not late yet.
    pub(crate) fn young(&self, now: Nanos, patience: u64) -> u64 {
        let young = |generation: &&Generation| !generation.is_late(now, patience);
        self.generations.iter().filter(young).map(Generation::count).sum()
    }

    /// Begins a generation, if there is one whose calls are late.
    #[cold]
    fn open(&self, number: u64, now: Nanos, patience: u64) -> Option<u64> {
        let generation = self.generation(number);
        let word = generation.word.load(Relaxed);
        let begun = |word: u64| word >> COUNT_BITS == number & NUMBERS;
        if !begun(word) && word & MAX_COUNT > 0 && !generation.is_late(now, patience) {
            return None;
        }
        // Before the dates: the calls of the former generation must not look young again. Another thread
        // may have begun this one already, and then its calls stay.
        let empty = (number & NUMBERS) << COUNT_BITS;
        let _ =
            generation.word.fetch_update(Relaxed, Relaxed, |word| (!begun(word)).then_some(empty));
        generation.first.fetch_max(now.get(), Relaxed);
        generation.latest.fetch_max(now.get(), Relaxed);
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

    /// Does nothing for a call whose generation is gone: it was late.
    #[inline]
    fn leave(&self, number: u64) {
        self.change(number, |count| count.checked_sub(1));
    }

    #[inline]
    fn change(&self, number: u64, change: impl Fn(u64) -> Option<u64>) {
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

/// Half as many again as the young ones: a patience that shrinks leaves longer generations behind.
const GENERATIONS: usize = if cfg!(buttress_loom) { 2 } else { 16 };

/// Generations in the time after which a call is late.
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
    fn a_call_is_young_for_the_patience_and_at_most_an_eighth_longer() {
        let calls = Outstanding::new();
        for made in 5000..5100 {
            calls.begin(at(made), PATIENCE);
        }
        assert_eq!(calls.young(at(5799), PATIENCE), 100);
        assert_eq!(calls.young(at(5900), PATIENCE), 0);
    }

    #[test]
    fn a_call_that_ended_is_not_out_whatever_came_after_it() {
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
    fn a_patience_that_grows_or_shrinks_loses_no_young_call() {
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
    fn calls_after_a_long_rest_begin_a_generation_of_their_own() {
        let calls = Outstanding::new();
        calls.begin(at(1), PATIENCE);
        let second = calls.begin(at(1_000_000), PATIENCE);
        assert_eq!(calls.young(at(1_000_001), PATIENCE), 1);
        calls.end(second);
        assert_eq!(calls.young(at(1_000_001), PATIENCE), 0);
    }
}

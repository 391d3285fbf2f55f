use std::{fmt, time::Duration};

use crate::numbers::nanos::saturating_nanos;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use crate::{Nanos, Ratio};

/// A quantile of recent latencies, from a histogram.
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{Latencies, Nanos, Ratio};
///
/// let latencies = Latencies::new(Ratio::percent(95));
/// for call in 0..=100_u64 {
///     let now = Nanos::from(Duration::from_millis(40 * call));
///     latencies.record(now, Duration::from_millis(call));
/// }
/// // The 75 calls of the first 3 s took up to 75 ms.
/// let p95 = latencies.quantile().unwrap();
/// assert!(p95 >= Duration::from_millis(72) && p95 <= Duration::from_millis(81));
/// ```
///
/// # The histogram
///
/// The histogram has 216 buckets, eight for each doubling, from 1 µs to 137 s. The quantile is the
/// upper end of its bucket, so the result is at most an eighth too long, and never too short. A
/// shorter latency counts in the first bucket, a longer latency in the last.
///
/// Samples are recorded into one of two halves. The halves change at most every 3 s: the quantile is
/// computed from both, and the older half is emptied. So a quantile covers between 3 s and 6 s, or
/// longer if there were few samples. While both halves together have fewer than 50 samples, they do
/// not change, and the former quantile stays. The first change comes 3 s after the first sample at
/// the earliest.
///
/// # Sharing
///
/// [`record`](Self::record) takes no lock, and usually is an addition to an atomic. A sample that is
/// recorded while the halves change may count in the next quantile, or not at all.
///
/// # Bad input
///
/// A quantile above 100 % counts as 100 %. A time that steps backwards delays the next change.
pub struct Latencies {
    /// The share of the samples that lie at or below the quantile, in parts per million.
    share: AtomicU32,
    /// In nanoseconds. 0 until the first change, `u64::MAX` beyond the histogram.
    quantile: AtomicU64,
    /// The time from which the halves may change, in nanoseconds.
    changes_at: AtomicU64,
    /// The half that samples are recorded into: 0 or 1.
    recording: AtomicU64,
    halves: [[AtomicU64; BUCKETS]; 2],
}

impl Latencies {
    /// Creates a histogram without samples, for the latency that this share of the calls does not
    /// exceed.
    pub fn new(quantile: Ratio) -> Self {
        let empty = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            share: AtomicU32::new(share_of(quantile)),
            quantile: AtomicU64::new(UNKNOWN),
            changes_at: AtomicU64::new(NOT_STARTED),
            recording: AtomicU64::new(0),
            halves: [empty(), empty()],
        }
    }

    /// Returns the share of the calls that do not exceed the quantile.
    pub fn share(&self) -> Ratio {
        Ratio::per_million(self.share.load(Relaxed))
    }

    /// Sets the share of the calls that do not exceed the quantile.
    ///
    /// The samples stay. The quantile of the new share is known with the next change of the halves.
    pub fn set_share(&self, quantile: Ratio) {
        self.share.store(share_of(quantile), Relaxed);
    }

    /// Records a sample that ended now.
    pub fn record(&self, now: Nanos, latency: Duration) {
        // All orderings are relaxed: each count is complete in itself, and a sample that meets a
        // change may count in either half.
        let half = self.half(self.recording.load(Relaxed));
        if let Some(bucket) = half.get(bucket_of(latency)) {
            bucket.fetch_add(1, Relaxed);
        }
        let due = self.changes_at.load(Relaxed);
        if now.get() >= due || due == NOT_STARTED {
            self.change(now, due);
        }
    }

    /// Returns the quantile as of the last change. `None` until the first change, and
    /// [`Duration::MAX`] if the quantile lies in the last bucket.
    #[inline]
    pub fn quantile(&self) -> Option<Duration> {
        match self.quantile_nanos()? {
            BEYOND => Some(Duration::MAX),
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Returns the [`quantile`](Self::quantile) in nanoseconds. `u64::MAX` if the quantile lies in
    /// the last bucket.
    #[inline]
    pub fn quantile_nanos(&self) -> Option<u64> {
        let nanos = self.quantile.load(Relaxed);
        (nanos != UNKNOWN).then_some(nanos)
    }

    /// Computes the quantile and changes the halves, if there are samples enough.
    #[cold]
    fn change(&self, now: Nanos, due: u64) {
        let samples = if due == NOT_STARTED { 0 } else { self.samples() };
        if due != NOT_STARTED && samples < FEWEST_SAMPLES {
            return;
        }
        // A single thread wins this exchange, and no other thread enters before the next change is
        // due. A thread that stalls for that long can only lose samples.
        let next = now.get().saturating_add(HALF).min(NOT_STARTED - 1);
        if self.changes_at.compare_exchange(due, next, Relaxed, Relaxed).is_err() || samples == 0 {
            return;
        }
        self.quantile.store(self.quantile_of(samples), Relaxed);
        let older = 1 - self.recording.load(Relaxed);
        // Emptied before samples are recorded into it.
        self.half(older).iter().for_each(|bucket| bucket.store(0, Relaxed));
        self.recording.store(older, Relaxed);
    }

    /// The upper end of the bucket in which the quantile lies.
    fn quantile_of(&self, samples: u64) -> u64 {
        let rank = self.share().ceil_of(samples).max(1);
        let mut below = 0_u64;
        let reached = self.counts().position(|count| {
            below = below.saturating_add(count);
            below >= rank
        });
        // A sample may be recorded meanwhile, so the rank may lie a little higher or lower than
        // that of the samples that are counted here.
        match reached {
            Some(bucket) if bucket + 1 < BUCKETS => end_of(bucket),
            _ => BEYOND,
        }
    }

    fn samples(&self) -> u64 {
        self.counts().fold(0, u64::saturating_add)
    }

    /// The samples of both halves, by bucket.
    fn counts(&self) -> impl Iterator<Item = u64> {
        let [one, other] = &self.halves;
        let both = one.iter().zip(other);
        both.map(|(one, other)| one.load(Relaxed).saturating_add(other.load(Relaxed)))
    }

    fn half(&self, index: u64) -> &[AtomicU64; BUCKETS] {
        let [one, other] = &self.halves;
        if index == 0 { one } else { other }
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("share", &self.share())
            .field("quantile", &self.quantile())
            .field("samples", &self.samples())
            .finish_non_exhaustive()
    }
}

fn share_of(quantile: Ratio) -> u32 {
    quantile.min(Ratio::percent(100)).parts_per_million()
}

/// The bucket of a latency: the octave, and the three bits below its highest.
#[inline]
fn bucket_of(latency: Duration) -> usize {
    let nanos = saturating_nanos(latency).clamp(1 << FIRST_OCTAVE, (1 << OCTAVES_END) - 1);
    let octave = nanos.ilog2();
    let eighth = (nanos >> (octave - EIGHTHS)) & 7;
    ((octave - FIRST_OCTAVE) as usize) << EIGHTHS | eighth as usize
}

/// The least latency above a bucket, in nanoseconds.
fn end_of(bucket: usize) -> u64 {
    let octave = FIRST_OCTAVE as usize + (bucket >> EIGHTHS);
    let eighths = 9 + (bucket & 7) as u64;
    eighths << (octave - EIGHTHS as usize)
}

/// The first bucket begins at 2^10 ns, about 1 µs.
const FIRST_OCTAVE: u32 = 10;

/// The last bucket ends at 2^37 ns, about 137 s.
const OCTAVES_END: u32 = 37;

/// Eight buckets for each octave.
const EIGHTHS: u32 = 3;

const BUCKETS: usize = ((OCTAVES_END - FIRST_OCTAVE) as usize) << EIGHTHS;

const FEWEST_SAMPLES: u64 = 50;

/// The least time between two changes of the halves: 3 s.
const HALF: u64 = 3_000_000_000;

const UNKNOWN: u64 = 0;
const BEYOND: u64 = u64::MAX;

/// No sample has been recorded yet.
const NOT_STARTED: u64 = u64::MAX;

//! Replays calls through one bucket of `burst` cells that gains `rate` cells per second.

/// Returns by how many calls these admissions exceed the bucket, in the interval where they do so most.
///
/// `times` are sorted, in microseconds.
pub(crate) fn excess(times: impl IntoIterator<Item = u64>, rate: u32, burst: u32) -> f64 {
    let mut bucket = Bucket::new(rate, burst);
    times.into_iter().fold(0.0, |most, time| {
        bucket.advance(time);
        bucket.cells -= 1.0;
        f64::max(most, -bucket.cells)
    })
}

/// Returns how many of these calls the bucket would admit.
pub(crate) fn admissible(times: impl IntoIterator<Item = u64>, rate: u32, burst: u32) -> u64 {
    let mut bucket = Bucket::new(rate, burst);
    let admits = |time| {
        bucket.advance(time);
        let is_admitted = bucket.cells >= 1.0;
        if is_admitted {
            bucket.cells -= 1.0;
        }
        u64::from(is_admitted)
    };
    times.into_iter().map(admits).sum()
}

struct Bucket {
    per_micro: f64,
    burst: f64,
    cells: f64,
    time: u64,
}

impl Bucket {
    fn new(rate: u32, burst: u32) -> Self {
        let burst = f64::from(burst);
        Self { per_micro: f64::from(rate) / 1e6, burst, cells: burst, time: 0 }
    }

    fn advance(&mut self, time: u64) {
        #[expect(clippy::cast_precision_loss, reason = "no interval is longer than an hour")]
        let gained = time.saturating_sub(self.time) as f64 * self.per_micro;
        self.cells = f64::min(self.burst, self.cells + gained);
        self.time = self.time.max(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_within_the_rate_and_the_burst_exceed_nothing() {
        // 10 at once, then one each 100 ms.
        let times = [0; 10].into_iter().chain((1..50).map(|call| call * 100_000));
        assert!(excess(times.clone(), 10, 10).abs() < 1e-6);
        assert_eq!(admissible(times, 10, 10), 59);
    }

    #[test]
    fn excess_is_that_of_the_worst_interval() {
        // 13 at once, then a pause in which the bucket is full again, then 12 at once.
        let times = [0; 13].into_iter().chain([60_000_000; 12]);
        assert!((excess(times.clone(), 10, 10) - 3.0).abs() < 1e-6);
        assert_eq!(admissible(times, 10, 10), 20);
    }

    #[test]
    fn excess_of_a_rate_that_is_too_high_adds_up() {
        // 20 per second for 10 s: 100 too many, without the burst.
        let times = (1..=200).map(|call| call * 50_000);
        assert!((excess(times, 10, 10) - 90.0).abs() < 1.0);
    }
}

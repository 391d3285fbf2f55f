use std::{collections::HashMap, time::Duration};

use buttress_state::{Ask, CellRate, Grant};

/// The buckets of a store: the generic cell rate algorithm, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// By key and by the index of the rate.
    buckets: HashMap<(Vec<u8>, usize), Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The theoretical arrival time: from then on the bucket is full.
    full_at: u128,
    /// The interval of the rate that wrote `full_at`.
    interval: u128,
    /// When the bucket is forgotten: once it was full by each of the rates that wrote it.
    kept_until: u128,
}

impl Bucket {
    /// The time until the bucket is full at another rate. The backlog counts in cells.
    fn backlog(&self, now: u128, interval: u128) -> u128 {
        let backlog = self.full_at.saturating_sub(now);
        // In two steps, because the product would overflow.
        let (cells, rest) = (backlog / self.interval, backlog % self.interval);
        cells * interval + rest * interval / self.interval
    }
}

impl Quotas {
    pub(super) fn clear(&mut self) {
        self.buckets.clear();
    }

    pub(super) fn len(&self, now: u128) -> usize {
        self.buckets.values().filter(|bucket| bucket.full_at > now).count()
    }

    pub(super) fn acquire(&mut self, now: u128, ask: Ask<'_>) -> Grant {
        let (want, min) = (u128::from(ask.want), u128::from(ask.min.max(1)));
        let mut lost = false;
        let mut cells = want;
        let mut starts = Vec::with_capacity(ask.rates.len());
        for (index, rate) in ask.rates.iter().enumerate() {
            let (interval, span) = (interval_of(rate), span_of(rate));
            let bucket = self.buckets.get(&(ask.key.to_vec(), index));
            let bucket = bucket.filter(|bucket| bucket.kept_until > now);
            let kept_until = bucket.map_or(0, |bucket| bucket.kept_until);
            let start = match bucket {
                Some(bucket) => now + bucket.backlog(now, interval),
                None if rate.expect => {
                    lost = true;
                    now + span
                }
                None => now,
            };
            let start = start.saturating_add(u128::from(ask.debt) * interval).min(now + span);
            cells = cells.min((now + span - start) / interval);
            starts.push((start, interval, span, kept_until));
        }
        if cells < min {
            cells = 0;
        }
        let mut grant = Grant::new(
            u32::try_from(cells).unwrap_or(u32::MAX),
            Duration::ZERO,
            Box::default(),
            u64::MAX,
        );
        grant.lost = lost;
        let mut full_in = Vec::with_capacity(starts.len());
        for (index, (start, interval, span, kept_until)) in starts.into_iter().enumerate() {
            let full_at = start + cells * interval;
            let kept_until = kept_until.max(full_at);
            let bucket = Bucket { full_at, interval, kept_until };
            self.buckets.insert((ask.key.to_vec(), index), bucket);
            grant.next =
                grant.next.max(duration((full_at + min * interval).saturating_sub(now + span)));
            let left = (now + span - full_at) / interval;
            grant.remaining = grant.remaining.min(u64::try_from(left).unwrap_or(u64::MAX));
            full_in.push(duration(full_at - now));
        }
        grant.full_in = full_in.into();
        grant
    }
}

fn interval_of(rate: &CellRate) -> u128 {
    rate.interval.as_nanos().clamp(1, 1 << 62)
}

/// The time in which the whole burst comes.
fn span_of(rate: &CellRate) -> u128 {
    interval_of(rate) * u128::from(rate.burst.max(1))
}

fn duration(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

//! The script of the store, in whole nanoseconds.

use std::time::Duration;

use buttress_control::{LeaseRefill, LeaseRules};

pub(crate) struct Request {
    pub(crate) refill: LeaseRefill,
    /// For each rate: interval in nanoseconds, burst, and whether its bucket must exist.
    pub(crate) rates: Vec<(u64, u32, bool)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) granted: u32,
    pub(crate) next: Duration,
    pub(crate) full_in: Vec<Duration>,
    pub(crate) remaining: u64,
}

pub(crate) struct Store {
    /// For each rate: the theoretical arrival time by the clock of the store, and its interval.
    buckets: Vec<Option<(u64, u64)>>,
    offset: i64,
    pub(crate) lost: u64,
    pub(crate) debt: u64,
}

impl Store {
    pub(crate) fn new(rules: &LeaseRules) -> Self {
        Self { buckets: vec![None; rules.rates().len()], offset: HOUR, lost: 0, debt: 0 }
    }

    pub(crate) fn flush(&mut self) {
        self.buckets.fill(None);
    }

    pub(crate) fn step(&mut self, millis: i64) {
        self.offset += millis * 1_000_000;
    }

    pub(crate) fn acquire(&mut self, time: u64, request: &Request) -> Reply {
        let now = time.checked_add_signed(self.offset).unwrap();
        let LeaseRefill { want, min, debt, .. } = request.refill;
        self.debt += debt;
        let (mut granted, mut lost, mut ends) = (u64::from(want), false, Vec::new());
        for (bucket, (interval, burst, expect)) in self.buckets.iter().zip(&request.rates) {
            let span = interval * u64::from(*burst);
            let live = bucket.filter(|(tat, _)| *tat > now);
            let start = match live {
                Some((tat, per)) => {
                    now + u64::try_from(
                        u128::from(tat - now) * u128::from(*interval) / u128::from(per),
                    )
                    .unwrap()
                }
                None if !expect => now,
                None => {
                    lost = true;
                    now + span
                }
            };
            let start = start.saturating_add(debt.saturating_mul(*interval)).min(now + span);
            granted = granted.min((now + span - start) / interval);
            ends.push(start);
        }
        if granted < u64::from(min) {
            granted = 0;
        }
        self.lost += u64::from(lost);
        let (mut wait, mut remaining, mut full_in) = (0, u64::MAX, Vec::new());
        for (index, (interval, burst, _)) in request.rates.iter().enumerate() {
            let (end, span) = (ends[index] + granted * interval, interval * u64::from(*burst));
            self.buckets[index] = Some((end, *interval));
            wait = wait.max((end + u64::from(min) * interval).saturating_sub(now + span));
            remaining = remaining.min((now + span - end) / interval);
            full_in.push(Duration::from_nanos(end - now));
        }
        let granted = u32::try_from(granted).unwrap();
        Reply { granted, next: Duration::from_nanos(wait), full_in, remaining }
    }
}

const HOUR: i64 = 3_600_000_000_000;

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use buttress_state::{Ask, CellRate, Grant, QuotaStore};
use tokio::time::{Instant, sleep};

/// Checks that a store keeps the contract of [`QuotaStore`]: cells are granted in part, together for
/// several rates, from `min` on, and none twice.
///
/// The store must be reachable. The check uses keys of its own, so the store need not be empty. Under
/// paused time and in real time, the check takes less than a second, and no clause depends on the
/// speed of the machine.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// buttress_testkit::quota_contract(buttress_testkit::FakeStore::new()).await;
/// # }
/// ```
///
/// # Panics
///
/// If the contract is broken, with what was granted. If a call fails.
#[expect(clippy::panic, reason = "this is how a check fails")]
pub async fn quota_contract<S: QuotaStore>(store: S) {
    let trial = Trial { store, run: RandomState::new().hash_one(0) };
    let checks = [
        trial.grants_in_part().await,
        trial.grants_from_min_on().await,
        trial.tells_the_wait_for_min().await,
        trial.grants_all_rates_together().await,
        trial.keeps_keys_apart().await,
        trial.grants_no_cell_twice().await,
        trial.takes_a_debt_first().await,
        trial.starts_a_lost_bucket_empty().await,
        trial.rescales_the_backlog_to_another_rate().await,
        trial.keeps_a_bucket_that_a_faster_rate_filled().await,
        trial.earns_cells_with_time().await,
        trial.bears_extreme_numbers().await,
        trial.counts_operations().await,
    ];
    for check in checks {
        if let Err(how) = check {
            panic!("the contract of a quota store is broken: {how}");
        }
    }
}

struct Trial<S> {
    store: S,
    /// Random, so that each run has buckets of its own.
    run: u64,
}

type Check = Result<(), String>;

/// A cell in an hour: none comes back while the check runs.
fn slow(burst: u32) -> CellRate {
    CellRate::new(HOUR, burst)
}

const HOUR: Duration = Duration::from_secs(3600);

fn holds(does_hold: bool, clause: &str, grant: &Grant) -> Check {
    if does_hold { Ok(()) } else { Err(format!("{clause}, but got {grant:?}")) }
}

impl<S: QuotaStore> Trial<S> {
    async fn ask(&self, key: &str, rates: &[CellRate], want: u32) -> Result<Grant, String> {
        self.send(key, rates, |ask| ask.want = want).await
    }

    async fn send(
        &self,
        key: &str,
        rates: &[CellRate],
        change: impl FnOnce(&mut Ask<'_>),
    ) -> Result<Grant, String> {
        let key = format!("{}/{key}", self.run);
        let mut ask = Ask::new(key.as_bytes(), rates, 0);
        change(&mut ask);
        let grant = self.store.acquire(ask).await.map_err(|error| format!("{ask:?}: {error:?}"))?;
        holds(grant.granted <= ask.want, "no more than wanted is granted", &grant)?;
        let is_none_or_min = grant.granted == 0 || grant.granted >= ask.min;
        holds(is_none_or_min, "at least `min` cells are granted, or none", &grant)?;
        holds(grant.full_in.len() == rates.len(), "each rate has its `full_in`", &grant)?;
        Ok(grant)
    }

    async fn grants_in_part(&self) -> Check {
        let rates = [slow(10)];
        let grant = self.ask("part", &rates, 4).await?;
        holds(grant.granted == 4, "all 4 cells are granted of 10", &grant)?;
        holds(grant.remaining == 6 && grant.next.is_zero(), "6 cells remain", &grant)?;
        holds(!grant.lost, "a new bucket is not lost", &grant)?;
        let is_full_in = grant.full_in.iter().all(|time| *time <= 4 * HOUR && *time > 3 * HOUR);
        holds(is_full_in, "the bucket is full after the time of 4 cells", &grant)?;
        let grant = self.ask("part", &rates, 10).await?;
        holds(
            grant.granted == 6 && grant.remaining == 0,
            "6 of 10 wanted cells are granted",
            &grant,
        )
    }

    async fn grants_from_min_on(&self) -> Check {
        let rates = [slow(10)];
        self.ask("min", &rates, 7).await?;
        let grant = self.send("min", &rates, |ask| (ask.want, ask.min) = (9, 4)).await?;
        holds(
            grant.granted == 0 && grant.remaining == 3,
            "of 3 cells, none are granted from 4 on",
            &grant,
        )?;
        holds(
            grant.next > Duration::ZERO && grant.next <= HOUR,
            "the fourth comes in an hour",
            &grant,
        )?;
        let grant = self.send("min", &rates, |ask| (ask.want, ask.min) = (9, 3)).await?;
        holds(grant.granted == 3, "a refusal takes no cells", &grant)
    }

    /// The wait grows with `min`, and does not depend on `want`.
    async fn tells_the_wait_for_min(&self) -> Check {
        let rates = [slow(10)];
        self.ask("next", &rates, 10).await?;
        let mut last = Duration::ZERO;
        for min in 1..=10 {
            let grant = self.send("next", &rates, |ask| (ask.want, ask.min) = (10, min)).await?;
            let is_next = grant.next > last && grant.next <= HOUR * min;
            holds(is_next, &format!("{min} cells come in as many hours"), &grant)?;
            last = grant.next;
        }
        Ok(())
    }

    async fn grants_all_rates_together(&self) -> Check {
        let rates = [slow(10), slow(3)];
        let grant = self.ask("several", &rates, 5).await?;
        holds(grant.granted == 3 && grant.remaining == 0, "the scarcest rate decides", &grant)?;
        let grant = self.ask("several", &rates, 5).await?;
        holds(grant.granted == 0, "without cells of one rate, none are granted", &grant)?;
        let grant = self.ask("several", rates.get(..1).unwrap_or_default(), 10).await?;
        holds(grant.granted == 7, "a refusal takes nothing of the other rate", &grant)
    }

    async fn keeps_keys_apart(&self) -> Check {
        let long = "x".repeat(100_000);
        for key in ["apart", "apart/", "apart/0", "{apart}", "\0", "\r\n", "ä", &long] {
            let grant = self.ask(key, &[slow(5)], 5).await?;
            holds(grant.granted == 5, "each key has a bucket of its own", &grant)?;
        }
        Ok(())
    }

    async fn grants_no_cell_twice(&self) -> Check {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (store, key) = (self.store.clone(), format!("{}/twice", self.run));
            calls.spawn(
                async move { store.acquire(Ask::new(key.as_bytes(), &[slow(50)], 2)).await },
            );
        }
        let granted = calls.join_all().await.into_iter().flatten().map(|grant| grant.granted);
        let granted: u32 = granted.sum();
        if granted == 50 { Ok(()) } else { Err(format!("40 calls took {granted} of 50 cells")) }
    }

    async fn takes_a_debt_first(&self) -> Check {
        let rates = [slow(10)];
        let grant = self.send("debt", &rates, |ask| (ask.want, ask.debt) = (10, 4)).await?;
        holds(grant.granted == 6, "a debt of 4 leaves 6 of 10", &grant)?;
        let grant = self.send("deep", &rates, |ask| (ask.want, ask.debt) = (10, u64::MAX)).await?;
        let is_empty = grant.granted == 0 && grant.next <= HOUR;
        holds(is_empty, "no debt takes more than the bucket holds", &grant)?;
        let grant = self.send("pay", &rates, |ask| ask.debt = 7).await?;
        holds(grant.granted == 0, "nothing is wanted", &grant)?;
        let grant = self.ask("pay", &rates, 10).await?;
        holds(grant.granted == 3, "a call that wants nothing pays its debt", &grant)
    }

    async fn starts_a_lost_bucket_empty(&self) -> Check {
        let mut expected = slow(5);
        expected.expect = true;
        let grant = self.ask("lost", &[expected], 5).await?;
        holds(
            grant.lost && grant.granted == 0,
            "an expected bucket that is missing is empty",
            &grant,
        )?;
        let grant = self.ask("lost", &[slow(5)], 5).await?;
        holds(!grant.lost && grant.granted == 0, "the empty bucket is kept", &grant)?;
        self.ask("found", &[slow(5)], 1).await?;
        let grant = self.ask("found", &[expected], 5).await?;
        holds(!grant.lost && grant.granted == 4, "an expected bucket that exists counts", &grant)
    }

    async fn rescales_the_backlog_to_another_rate(&self) -> Check {
        for (key, interval) in [("slower", 3 * HOUR), ("faster", HOUR / 3)] {
            self.ask(key, &[slow(10)], 4).await?;
            let grant = self.ask(key, &[CellRate::new(interval, 10)], 10).await?;
            // A call takes time, in which the faster rate can earn no whole cell.
            holds(grant.granted == 6, "the backlog counts in cells", &grant)?;
        }
        self.ask("smaller", &[slow(10)], 8).await?;
        let grant = self.ask("smaller", &[slow(5)], 5).await?;
        let is_empty = grant.granted == 0 && grant.next <= HOUR;
        holds(is_empty, "a smaller burst is empty at worst", &grant)
    }

    async fn keeps_a_bucket_that_a_faster_rate_filled(&self) -> Check {
        let (mut slow, fast) = (slow(10), CellRate::new(Duration::from_millis(1), 10));
        self.ask("filled", &[slow], 10).await?;
        for _ in 0..2 {
            self.ask("filled", &[fast], 1).await?;
        }
        sleep(Duration::from_millis(20)).await;
        slow.expect = true;
        let grant = self.ask("filled", &[slow], 10).await?;
        let is_full = !grant.lost && grant.granted == 10;
        holds(is_full, "a bucket exists until it is full by the slowest rate", &grant)
    }

    async fn earns_cells_with_time(&self) -> Check {
        let interval = Duration::from_millis(20);
        let (rates, start) = ([CellRate::new(interval, 5)], Instant::now());
        let mut taken = self.ask("earn", &rates, 5).await?.granted;
        for _ in 0..3 {
            sleep(3 * interval).await;
            let grant = self.ask("earn", &rates, 5).await?;
            holds(grant.granted >= 2, "cells come back with time", &grant)?;
            taken += grant.granted;
            let earned = start.elapsed().as_nanos() / interval.as_nanos();
            holds(
                u128::from(taken) <= 5 + earned + 1,
                "no more cells come than the rate says",
                &grant,
            )?;
        }
        Ok(())
    }

    async fn bears_extreme_numbers(&self) -> Check {
        let longest = Duration::from_secs(18 * 365 * 24 * 3600);
        for (index, interval) in [Duration::from_nanos(1), longest].into_iter().enumerate() {
            for burst in [1, u32::MAX] {
                let key = format!("extreme/{index}/{burst}");
                let rates = [CellRate::new(interval, burst)];
                self.send(&key, &rates, |ask| ask.want = 1).await?;
                self.send(&key, &rates, |ask| (ask.want, ask.debt) = (u32::MAX, u64::MAX)).await?;
            }
        }
        Ok(())
    }

    async fn counts_operations(&self) -> Check {
        let before = self.store.snapshot().operations;
        self.ask("count", &[slow(1)], 1).await?;
        let after = self.store.snapshot().operations;
        if after > before { Ok(()) } else { Err(format!("{after} operations, {before} before")) }
    }
}

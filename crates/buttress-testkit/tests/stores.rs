//! The store in this process keeps the contracts, and fails by script.

use std::time::Duration;

use buttress_state::{
    Ask, Begun, CellRate, Ending, Finished, FlightStore, Grant, QuotaStore, Slot, StoreError,
    StoreErrorKind, StoreSnapshot, Token,
};
use buttress_testkit::{FakeStore, Outage, flight_contract, quota_contract};
use bytes::Bytes;
use tokio::time::{Instant, advance, sleep, timeout};

/// A cell in 10 ms, and 10 at once.
const RATE: [CellRate; 1] = [CellRate::new(Duration::from_millis(10), 10)];

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn take(store: &FakeStore, want: u32) -> Result<u32, StoreErrorKind> {
    let grant = store.acquire(Ask::new(b"key", &RATE, want)).await;
    grant.map(|grant| grant.granted).map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn fake_store_keeps_the_contract_of_a_quota_store() {
    quota_contract(FakeStore::new()).await;
    let slow = FakeStore::new();
    slow.set_delay(millis(5));
    quota_contract(slow).await;
}

#[tokio::test(start_paused = true)]
async fn fake_store_keeps_the_contract_of_a_flight_store() {
    flight_contract(FakeStore::new()).await;
    let slow = FakeStore::new();
    slow.set_delay(millis(5));
    flight_contract(slow).await;
}

#[tokio::test(start_paused = true)]
async fn reply_takes_the_delay_and_at_most_the_time_limit() {
    let (store, start) = (FakeStore::new(), Instant::now());
    assert_eq!(take(&store, 1).await, Ok(1));
    assert_eq!(start.elapsed(), Duration::ZERO);
    store.set_delay(millis(10));
    assert_eq!(take(&store, 1).await, Ok(1));
    assert_eq!(start.elapsed(), millis(10));
    store.set_delay(millis(40));
    assert_eq!(take(&store, 1).await, Err(StoreErrorKind::Timeout));
    assert_eq!(start.elapsed(), millis(35));
    assert_eq!(store.asks().len(), 3, "the late request ran");
    store.set_delay(millis(60));
    assert_eq!(take(&store, 1).await, Err(StoreErrorKind::Timeout));
    assert_eq!(store.asks().len(), 3, "the last one did not");
    assert_eq!(store.asks()[1].at - start, millis(5), "after half of the delay");
}

#[tokio::test(start_paused = true)]
async fn refused_connection_fails_at_once_and_a_silent_one_after_the_time_limit() {
    let (store, start) = (FakeStore::new(), Instant::now());
    store.begin_outage(Outage::Refused);
    assert_eq!(take(&store, 1).await, Err(StoreErrorKind::Unavailable));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(!QuotaStore::snapshot(&store).is_connected);
    store.begin_outage(Outage::Silent);
    assert_eq!(take(&store, 1).await, Err(StoreErrorKind::Timeout));
    assert_eq!(start.elapsed(), millis(25));
    store.end_outage();
    assert_eq!(take(&store, 10).await, Ok(10), "the bucket was never asked");
    let numbers = QuotaStore::snapshot(&store);
    assert_eq!((numbers.operations, numbers.unavailable, numbers.timeouts), (3, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn planned_faults_come_in_order_and_only_a_lost_reply_debits() {
    let store = FakeStore::new();
    store.lose_reply();
    store.lose_request();
    store.fail(StoreErrorKind::Rejected);
    let kinds = [StoreErrorKind::Timeout, StoreErrorKind::Timeout, StoreErrorKind::Rejected];
    for kind in kinds {
        assert_eq!(take(&store, 3).await, Err(kind));
    }
    assert_eq!(store.asks().len(), 1);
    advance(Duration::ZERO).await;
    // 50 ms in two time limits brought all three cells back but for rounding.
    assert_eq!(store.buckets(), 0);
    assert_eq!(take(&store, 11).await, Ok(10));
    assert_eq!(store.buckets(), 1);
}

#[tokio::test(start_paused = true)]
async fn clock_of_the_store_steps_and_its_buckets_with_it() {
    let store = FakeStore::new();
    assert_eq!(take(&store, 10).await, Ok(10));
    store.step_clock_back(Duration::from_secs(60));
    let grant = store.acquire(Ask::new(b"key", &RATE, 1)).await.unwrap();
    assert_eq!((grant.granted, grant.next), (0, millis(10)), "empty, and no emptier");
    store.step_clock_forward(Duration::from_secs(60));
    assert_eq!(take(&store, 10).await, Ok(10), "the time in which the burst comes has passed");
    store.lose_state();
    assert_eq!(take(&store, 10).await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn ask_records_what_arrived() {
    let store = FakeStore::new();
    let mut expected = RATE;
    expected[0].expect = true;
    let mut ask = Ask::new(b"k", &expected, 7);
    (ask.min, ask.debt) = (2, 9);
    store.acquire(ask).await.unwrap();
    let asks = store.asks();
    assert_eq!(asks.len(), 1);
    assert_eq!((&*asks[0].key, asks[0].want, asks[0].min, asks[0].debt), (&b"k"[..], 7, 2, 9));
    assert_eq!((&*asks[0].expect, asks[0].granted), (&[true][..], 0));
}

#[tokio::test(start_paused = true)]
async fn change_counts_from_the_call_on() {
    let store = FakeStore::new();
    let slot = Slot::new(b"g", b"k");
    let Begun::Lead(token) = store.begin(slot, None).await.unwrap() else { panic!("nobody leads") };
    let start = Instant::now();
    let change = store.changed(slot, start + Duration::from_secs(5));
    store.finish(slot, &token, Ending::Abandon).await.unwrap();
    change.await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    store.changed(slot, start + Duration::from_secs(5)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn lock_ends_after_its_lease_unless_it_is_renewed() {
    let store = FakeStore::new();
    store.set_lease(millis(100));
    let slot = Slot::new(b"g", b"k");
    let Begun::Lead(token) = store.begin(slot, None).await.unwrap() else { panic!("nobody leads") };
    sleep(millis(60)).await;
    assert!(store.renew(slot, &token).await.unwrap());
    sleep(millis(60)).await;
    assert_eq!(store.begin(slot, None).await.unwrap(), Begun::Busy(millis(40)));
    sleep(millis(41)).await;
    assert!(matches!(store.begin(slot, None).await.unwrap(), Begun::Lead(_)));
    assert!(!store.renew(slot, &token).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn store_that_is_away_fails_each_call_on_a_slot() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let (slot, token) = (Slot::new(b"g", b"k"), Token::new([0; 16], [1; 16]));
    let kinds = [
        store.begin(slot, None).await.map(drop),
        store.renew(slot, &token).await.map(drop),
        store.finish(slot, &token, Ending::Abandon).await.map(drop),
        store.invalidate(b"g").await,
        store.clear().await,
    ];
    for end in kinds {
        assert_eq!(end.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    assert!(timeout(millis(1), store.changed(slot, Instant::now())).await.is_ok());
}

/// A quota store with a fault.
#[derive(Clone)]
struct Mutant {
    store: FakeStore,
    flaw: Flaw,
}

#[derive(Clone, Copy, Debug)]
enum Flaw {
    TellsTheWaitForAll,
    GrantsAllOrNothing,
    IgnoresDebt,
    IgnoresExpectation,
    IgnoresTheSecondRate,
    MixesKeys,
    GrantsOneMore,
    KeepsABucketPerInterval,
}

impl QuotaStore for Mutant {
    async fn acquire(&self, mut ask: Ask<'_>) -> Result<Grant, StoreError> {
        let mut rates = ask.rates.to_vec();
        let (want, mut key) = (ask.want, ask.key.to_vec());
        match self.flaw {
            Flaw::TellsTheWaitForAll => {
                let mut grant = self.store.acquire(ask).await?;
                let mut all = Ask::new(ask.key, ask.rates, 0);
                all.min = want.min(10);
                grant.next = self.store.acquire(all).await?.next;
                return Ok(grant);
            }
            Flaw::GrantsAllOrNothing => ask.min = ask.want,
            Flaw::IgnoresDebt => ask.debt = 0,
            Flaw::IgnoresExpectation => rates.iter_mut().for_each(|rate| rate.expect = false),
            Flaw::IgnoresTheSecondRate => rates.truncate(1),
            Flaw::MixesKeys => key.clear(),
            Flaw::GrantsOneMore => {}
            Flaw::KeepsABucketPerInterval => {
                let interval = rates.first().map_or(0, |rate| rate.interval.as_nanos());
                key = format!("{:?}/{interval}", ask.key).into_bytes();
            }
        }
        let mut changed = Ask::new(&key, &rates, ask.want);
        (changed.min, changed.debt) = (ask.min, ask.debt);
        let mut grant = self.store.acquire(changed).await?;
        if matches!(self.flaw, Flaw::GrantsOneMore) {
            grant.granted += 1;
        }
        if matches!(self.flaw, Flaw::IgnoresTheSecondRate) {
            grant.full_in = ask.rates.iter().map(|_| Duration::from_secs(5 * 3600)).collect();
        }
        Ok(grant)
    }

    fn snapshot(&self) -> StoreSnapshot {
        QuotaStore::snapshot(&self.store)
    }
}

/// Each broken store fails with the clause that it breaks.
macro_rules! fails {
    ($($test:ident: $flaw:ident => $clause:literal;)+) => {$(
        #[tokio::test(start_paused = true)]
        #[should_panic(expected = $clause)]
        async fn $test() {
            quota_contract(Mutant { store: FakeStore::new(), flaw: Flaw::$flaw }).await;
        }
    )+};
}

fails! {
    wait_for_all_cells_breaks_the_contract: TellsTheWaitForAll => "come";
    grant_of_all_or_nothing_breaks_the_contract: GrantsAllOrNothing => "6 of 10";
    forgotten_debt_breaks_the_contract: IgnoresDebt => "a debt of 4 leaves 6";
    forgotten_expectation_breaks_the_contract: IgnoresExpectation => "is missing is empty";
    forgotten_rate_breaks_the_contract: IgnoresTheSecondRate => "the bucket is full";
    mixed_keys_break_the_contract: MixesKeys => "of 3 cells, none";
    grant_of_more_than_wanted_breaks_the_contract: GrantsOneMore => "no more than wanted";
    bucket_per_interval_breaks_the_contract: KeepsABucketPerInterval => "the backlog counts in cells";
}

/// A flight store with a fault: an outdated flight begins again, and stores its value.
#[derive(Clone)]
struct BeginsAgain(FakeStore);

impl FlightStore for BeginsAgain {
    async fn begin(&self, slot: Slot<'_>, than: Option<[u8; 16]>) -> Result<Begun, StoreError> {
        self.0.begin(slot, than).await
    }

    async fn renew(&self, slot: Slot<'_>, token: &Token) -> Result<bool, StoreError> {
        self.0.renew(slot, token).await
    }

    async fn finish(
        &self,
        slot: Slot<'_>,
        token: &Token,
        end: Ending,
    ) -> Result<Finished, StoreError> {
        let finished = self.0.finish(slot, token, end.clone()).await?;
        if finished == Finished::Superseded
            && let Begun::Lead(token) = self.0.begin(slot, Some([2; 16])).await?
        {
            return self.0.finish(slot, &token, end).await;
        }
        Ok(finished)
    }

    async fn invalidate(&self, group: &[u8]) -> Result<(), StoreError> {
        self.0.invalidate(group).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.0.clear().await
    }

    fn changed(&self, slot: Slot<'_>, until: Instant) -> impl Future<Output = ()> + Send {
        self.0.changed(slot, until)
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a flight from before stores nothing")]
async fn flight_that_ignores_a_clear_breaks_the_contract() {
    flight_contract(BeginsAgain(FakeStore::new())).await;
}

#[tokio::test(start_paused = true)]
async fn value_of_a_fake_store_is_found_by_its_clones() {
    let (store, slot) = (FakeStore::new(), Slot::new(b"g", b"k"));
    let Begun::Lead(token) = store.clone().begin(slot, None).await.unwrap() else {
        panic!("nobody leads")
    };
    let ending = Ending::value(Bytes::from_static(b"x"), millis(50));
    assert_eq!(store.finish(slot, &token, ending).await.unwrap(), Finished::Stored);
    let begun = store.clone().begin(slot, None).await.unwrap();
    assert_eq!(begun, Begun::hit(Bytes::from_static(b"x"), millis(50), token.owner));
}

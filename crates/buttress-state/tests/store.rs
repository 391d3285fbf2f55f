//! The values that a store is asked with and answers with.

use std::{error::Error, io, time::Duration};

use buttress_state::{
    AnyQuotaStore, Ask, CellRate, Grant, QuotaStore, StoreError, StoreErrorKind, StoreSnapshot,
    Token,
};

/// Grants half of what is wanted.
#[derive(Clone)]
struct Half;

impl QuotaStore for Half {
    async fn acquire(&self, ask: Ask<'_>) -> Result<Grant, StoreError> {
        let full_in = ask.rates.iter().map(|rate| rate.interval).collect();
        Ok(Grant::new(ask.want / 2, Duration::from_millis(3), full_in, 7))
    }

    fn snapshot(&self) -> StoreSnapshot {
        let mut snapshot = StoreSnapshot::default();
        snapshot.operations = 5;
        snapshot
    }

    fn time_limit(&self) -> Duration {
        Duration::from_millis(4)
    }
}

#[tokio::test]
async fn any_quota_store_passes_each_call_to_its_store() {
    let store = AnyQuotaStore::new(Half);
    let rates = [CellRate::new(Duration::from_millis(2), 9)];
    let grant = store.clone().acquire(Ask::new(b"key", &rates, 8)).await.unwrap();
    assert_eq!(grant, Half.acquire(Ask::new(b"key", &rates, 8)).await.unwrap());
    assert_eq!(
        (grant.granted, grant.remaining, &grant.full_in[..]),
        (4, 7, &[rates[0].interval][..])
    );
    assert_eq!(store.snapshot().operations, 5);
    assert_eq!(store.time_limit(), Duration::from_millis(4));
    assert!(format!("{store:?}").contains("operations: 5"));
}

#[tokio::test]
async fn future_of_any_quota_store_can_be_sent_to_another_thread() {
    fn sendable<F: Future + Send + 'static>(future: F) -> F {
        future
    }

    let store = AnyQuotaStore::new(Half);
    let call = sendable(async move { store.acquire(Ask::new(b"", &[], 2)).await });
    assert_eq!(call.await.unwrap().granted, 1);
}

#[test]
fn cell_rate_of_zero_counts_as_the_least_rate() {
    let rate = CellRate::new(Duration::ZERO, 0);
    assert_eq!((rate.interval, rate.burst, rate.expect), (Duration::from_nanos(1), 1, false));
}

#[test]
fn ask_wants_at_least_one_cell_and_has_no_debt() {
    let ask = Ask::new(b"", &[], 3);
    assert_eq!((ask.want, ask.min, ask.debt), (3, 1, 0));
}

#[test]
fn store_error_tells_its_kind_its_delay_and_its_source() {
    let error = StoreError::new(StoreErrorKind::Rejected)
        .after(Duration::from_secs(10))
        .caused_by(io::Error::other("NOPERM"));
    assert_eq!(error.kind(), StoreErrorKind::Rejected);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(10)));
    assert_eq!(error.to_string(), "the store refused the command");
    assert_eq!(error.source().unwrap().to_string(), "NOPERM");
    let bare = StoreError::from(StoreErrorKind::Timeout);
    assert_eq!(bare.to_string(), "the store did not reply in time");
    assert!(bare.source().is_none() && bare.retry_after().is_none());
}

#[test]
fn each_kind_of_store_error_has_a_name_of_its_own() {
    let mut names: Vec<_> = StoreErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["corrupt", "rejected", "timeout", "unavailable"]);
}

#[test]
fn token_shows_its_numbers_in_hexadecimal() {
    let token = Token::new([0; 16], [0xab; 16]);
    let shown = format!("{token:?}");
    assert!(shown.contains(&"0".repeat(32)) && shown.contains(&"ab".repeat(16)), "{shown}");
}

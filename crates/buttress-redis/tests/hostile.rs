//! Servers that reply with what no server should.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::{
    panic,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use buttress_redis::{Redis, RedisQuotas};
use buttress_state::{
    Ask, CellRate, FlightStore, Grant, QuotaStore, Slot, StoreError, StoreErrorKind,
};
use support::{Liar, PATIENT, eventually};

const HOUR: Duration = Duration::from_secs(3600);
const SLOT: Slot<'static> = Slot::new(b"group", b"key");

async fn take(quotas: &RedisQuotas) -> Result<Grant, StoreError> {
    quotas.acquire(Ask::new(b"key", &[CellRate::new(HOUR, 10)], 1)).await
}

async fn open(liar: &Liar, limit: Duration) -> Redis {
    let redis = Redis::open(liar.url(), "shop").unwrap().time_limit(limit);
    eventually("a connection", async || redis.snapshot().is_connected).await;
    redis
}

#[tokio::test]
async fn reply_that_makes_no_sense_is_corrupt() {
    let replies: [&[u8]; 12] = [
        b":7\r\n",
        b"+OK\r\n",
        b"_\r\n",
        b"*0\r\n",
        b"*4\r\n:1\r\n:0\r\n:9\r\n:0\r\n",
        b"*6\r\n:1\r\n:0\r\n:9\r\n:0\r\n:1\r\n:1\r\n",
        b"*5\r\n:2\r\n:0\r\n:9\r\n:0\r\n:1\r\n",
        b"*5\r\n:-1\r\n:0\r\n:9\r\n:0\r\n:1\r\n",
        b"*5\r\n:1\r\n:-1\r\n:9\r\n:0\r\n:1\r\n",
        b"*5\r\n:1\r\n:0\r\n:9\r\n:2\r\n:1\r\n",
        b"*5\r\n:1\r\n:0\r\n:9223372036854775807\r\n:0\r\n:1\r\n",
        b"*5\r\n$1\r\n1\r\n:0\r\n:9\r\n:0\r\n:1\r\n",
    ];
    for nonsense in replies {
        let liar = Liar::always(nonsense).await;
        let redis = open(&liar, PATIENT).await;
        let error = take(&redis.quotas()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{:?}", str::from_utf8(nonsense));
        assert_eq!(redis.snapshot().corrupt, 1);
        // Replies may no longer belong to their requests.
        eventually("another connection", async || redis.snapshot().connections == 2).await;
        let error = redis.flights().begin(SLOT, None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{:?}", str::from_utf8(nonsense));
    }
}

/// Each kind of RESP3 with lengths and contents that no server sends, cut off, repeated and nested.
fn all_nonsense() -> Vec<Vec<u8>> {
    let rests = [
        "",
        "\r\n",
        "0\r\n",
        "-1\r\n",
        "-9223372036854775808\r\n",
        "4611686018427387903\r\n",
        "4611686018427387904\r\n",
        "9223372036854775807\r\n",
        "99999999999999999999\r\n",
        "1\r\n1\r\n",
        "3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n",
        "3\r\n$7\r\nmessage\r\n_\r\n_\r\n",
        "\0\r\n",
        "nan\r\n",
        "1\r\n\u{e4}\r\n",
    ];
    let mut all = vec![b"\x16\x03\x01 not a protocol\r\n".to_vec()];
    for kind in "+:$*%|~-_,#!=(>".chars() {
        all.push(format!("{kind}1\r\n").repeat(100_000).into_bytes());
        all.push([kind.to_string().as_bytes(), b"1\r\n\xff\r\n"].concat());
        all.extend(rests.iter().flat_map(|rest| {
            [1, 2].map(|times| format!("{kind}{rest}").repeat(times).into_bytes())
        }));
    }
    all
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts the panics of all threads, also those that are caught.
fn count_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, SeqCst);
        print(info);
    }));
}

#[tokio::test]
async fn no_bytes_are_a_panic_or_a_grant() {
    count_panics();
    for nonsense in all_nonsense() {
        let liar = Liar::always(&nonsense).await;
        let redis = open(&liar, Duration::from_millis(1)).await;
        let start = nonsense.get(..40).unwrap_or(&nonsense).escape_ascii().to_string();
        assert!(take(&redis.quotas()).await.is_err(), "{start}");
        assert!(redis.flights().begin(SLOT, None).await.is_err(), "{start}");
        assert_eq!(PANICS.load(SeqCst), 0, "{start}");
    }
}

/// A handle of a runtime that is alive may be used from outside of it.
#[test]
fn operation_outside_of_the_runtime_of_its_connection_does_not_panic() {
    count_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let liar = runtime.block_on(Liar::always(b"+OK\r\n"));
    let redis = runtime.block_on(open(&liar, PATIENT));
    let outcome = futures_util::FutureExt::now_or_never(take(&redis.quotas())).unwrap();
    assert_eq!(outcome.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(PANICS.load(SeqCst), 0);
}

/// A confirmation that nobody asked for takes the place of a reply. All later replies are those of
/// other requests.
#[tokio::test]
async fn connection_that_is_out_of_step_is_replaced() {
    let liar = Liar::always(b">3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n").await;
    let redis = open(&liar, PATIENT).await;
    let quotas = redis.quotas();
    assert_eq!(take(&quotas).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    eventually("another connection", async || redis.snapshot().connections >= 2).await;
}

/// A server of another protocol, a server that knows no RESP3, and a server that says nothing.
#[tokio::test]
async fn server_that_does_not_shake_hands_is_away() {
    let replies: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
        b"-ERR unknown command 'HELLO'\r\n",
        b"$9223372036854775807\r\n",
        b"",
    ];
    for reply in replies {
        let liar = Liar::start(move |_| reply.to_vec()).await;
        let redis = Redis::open(liar.url(), "shop").unwrap();
        let quotas = redis.quotas();
        eventually("it is dialled again", async || {
            assert_eq!(take(&quotas).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
            liar.accepted() >= 3
        })
        .await;
        assert_eq!(redis.snapshot().connections, 0);
    }
}

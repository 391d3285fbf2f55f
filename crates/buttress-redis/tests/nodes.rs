//! Clusters whose servers say what no server should.
#![cfg(feature = "cluster")]
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use buttress_redis::{Redis, RedisQuotas};
use buttress_state::{Ask, CellRate, Grant, QuotaStore, StoreError};
use support::{
    Liar, PATIENT, eventually,
    liar::{HELLO, asks},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
    sync::watch,
    task::JoinSet,
};

async fn take(quotas: &RedisQuotas) -> Result<Grant, StoreError> {
    let rate = [CellRate::new(Duration::from_secs(3600), 10)];
    quotas.acquire(Ask::new(b"key", &rate, 1)).await
}

/// The reply to `CLUSTER SLOTS` of a cluster that is a single server.
fn all_slots(port: u16) -> Vec<u8> {
    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n").into_bytes()
}

const GRANT: &[u8] = b"*5\r\n:1\r\n:0\r\n:9\r\n:0\r\n:1\r\n";

/// Each reply names another server.
#[tokio::test]
async fn servers_that_redirections_name_are_bounded() {
    let (own, moved) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicUsize::new(0)));
    let (port, count) = (Arc::clone(&own), Arc::clone(&moved));
    let liar = Liar::start(move |request| {
        if asks(request, "HELLO") {
            HELLO.to_vec()
        } else if !asks(request, "SLOTS") {
            format!("-MOVED 1 127.0.0.1:{}\r\n", count.fetch_add(1, SeqCst) % 60_000).into_bytes()
        } else if count.load(SeqCst) == 0 {
            all_slots(port.load(SeqCst))
        } else {
            b"+no table any more\r\n".to_vec()
        }
    })
    .await;
    own.store(liar.port, SeqCst);
    let redis = Redis::open_cluster([liar.url()], "shop").unwrap().time_limit(PATIENT);
    let quotas = redis.quotas();
    eventually("500 redirections", async || {
        for _ in 0..50 {
            assert!(take(&quotas).await.is_err());
        }
        moved.load(SeqCst) >= 500
    })
    .await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    assert!(tasks < 200, "{tasks} tasks");
}

/// A server that shakes hands only when it is told to, and that counts its connections.
struct Slow {
    port: u16,
    may_answer: watch::Sender<bool>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Slow {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let may_answer = watch::Sender::new(false);
        let (accepted, open) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (wait, count, now, mut tasks) =
            (may_answer.clone(), Arc::clone(&accepted), Arc::clone(&open), JoinSet::new());
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                now.fetch_add(1, SeqCst);
                let (mut wait, now) = (wait.subscribe(), Arc::clone(&now));
                streams.spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        let _ = wait.wait_for(|may| *may).await;
                        let _ = stream.write_all(HELLO).await;
                    }
                    now.fetch_sub(1, SeqCst);
                });
            }
        });
        Self { port, may_answer, accepted, open, _tasks: tasks }
    }
}

/// The server leaves the cluster between the dial and the end of the handshake.
#[tokio::test]
async fn server_that_leaves_while_it_is_dialled_keeps_no_connection() {
    let slow = Slow::start().await;
    let primary = Arc::new(AtomicU16::new(slow.port));
    let port = Arc::clone(&primary);
    let liar = Liar::start(move |request| {
        if asks(request, "HELLO") {
            HELLO.to_vec()
        } else if asks(request, "SLOTS") {
            all_slots(port.load(SeqCst))
        } else {
            GRANT.to_vec()
        }
    })
    .await;
    let redis = Redis::open_cluster([liar.url()], "shop").unwrap().time_limit(PATIENT);
    let quotas = redis.quotas();
    eventually("a dial", async || take(&quotas).await.is_err() && slow.accepted.load(SeqCst) > 0)
        .await;
    primary.store(liar.port, SeqCst);
    eventually("the table names another server", async || take(&quotas).await.is_ok()).await;
    slow.may_answer.send_replace(true);
    eventually("the connection ends", async || slow.open.load(SeqCst) == 0).await;
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// A network between client and server that can fail.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    network: Arc<Network>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Network {
    /// Connections of a lower number pass nothing, and are not closed.
    paused_below: watch::Sender<usize>,
    /// Requests pass, replies vanish.
    drops_replies: AtomicBool,
    /// The port of the server that new connections reach.
    server: AtomicU16,
    /// The way of a reply, in ms.
    delay: AtomicU64,
    accepted: AtomicUsize,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Network { server: server.into(), ..Network::default() });
        let mut tasks = JoinSet::new();
        let accepting = Arc::clone(&network);
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let number = accepting.accepted.fetch_add(1, SeqCst);
                streams.spawn(connect(client, number, Arc::clone(&accepting)));
            }
        });
        Self { port, network, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lets nothing pass, and closes nothing. New connections are paused too.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.network.paused_below.send_replace(if is_paused { usize::MAX } else { 0 });
    }

    /// Pauses the connections that stand now for ever. New ones work.
    pub(crate) fn half_open(&self) {
        self.network.paused_below.send_replace(self.accepted());
    }

    /// Leads new connections to another server, as a changed name does.
    pub(crate) fn switch(&self, server: u16) {
        self.network.server.store(server, SeqCst);
    }

    pub(crate) fn drop_replies(&self, drops: bool) {
        self.network.drops_replies.store(drops, SeqCst);
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.network.delay.store(u64::try_from(delay.as_millis()).unwrap(), SeqCst);
    }

    /// The number of the connections of clients so far.
    pub(crate) fn accepted(&self) -> usize {
        self.network.accepted.load(SeqCst)
    }
}

async fn connect(client: TcpStream, number: usize, network: Arc<Network>) {
    let server = network.server.load(SeqCst);
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pass(from_client, to_server, (number, &network), false);
    let replies = pass(from_server, to_client, (number, &network), true);
    tokio::select! {
        () = requests => {}
        () = replies => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (number, network): (usize, &Network),
    is_reply: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut paused_below = network.paused_below.subscribe();
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let _ = paused_below.wait_for(|below| number >= *below).await;
        if is_reply && network.drops_replies.load(SeqCst) {
            continue;
        }
        let delay = network.delay.load(SeqCst);
        if is_reply && delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        if to.write_all(buffer.get(..read).unwrap()).await.is_err() {
            break;
        }
    }
    // A paused network closes nothing.
    let _ = paused_below.wait_for(|below| number >= *below).await;
}

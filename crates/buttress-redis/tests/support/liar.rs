use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

/// A server that shakes hands as a server of Redis does, and then says what a test wants.
pub(crate) struct Liar {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Liar {
    /// Replies to each request with what `reply` returns.
    pub(crate) async fn start(reply: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::<AtomicUsize>::default();
        let (reply, count, mut tasks) = (Arc::new(reply), Arc::clone(&accepted), JoinSet::new());
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                let reply = Arc::clone(&reply);
                streams.spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        let replies: Vec<u8> = requests(buffer.get(..read).unwrap())
                            .flat_map(|one| reply(one))
                            .collect();
                        if stream.write_all(&replies).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { port, accepted, _tasks: tasks }
    }

    /// Replies to the handshake as a server does, and to all else with `nonsense`.
    pub(crate) async fn always(nonsense: &[u8]) -> Self {
        let nonsense = nonsense.to_vec();
        Self::start(
            move |request| if asks(request, "HELLO") { HELLO.to_vec() } else { nonsense.clone() },
        )
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The number of the connections of clients so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

/// Splits what a client sent: several requests may come together.
fn requests(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let later = bytes.windows(3).enumerate().filter(|(_, part)| part == b"\r\n*");
    let ends = later.map(|(at, _)| at + 2).chain([bytes.len()]).collect::<Vec<_>>();
    ends.into_iter().scan(0, |start, end| bytes.get(std::mem::replace(start, end)..end))
}

/// Whether a request holds this word.
pub(crate) fn asks(request: &[u8], word: &str) -> bool {
    request.windows(word.len()).any(|part| part == word.as_bytes())
}

/// The reply to the handshake.
pub(crate) const HELLO: &[u8] = b"%1\r\n+proto\r\n:3\r\n";

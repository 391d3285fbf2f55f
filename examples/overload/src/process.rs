//! The server as a child process: start, snapshots and end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::server::ServerSnapshot;

/// A child process that runs this program as the server of a given name.
pub(crate) struct ServerProcess {
    child: Child,
    requests: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl ServerProcess {
    pub(crate) async fn start(name: &str, seed: u64) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--server", name, "--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut replies = BufReader::new(replies).lines();
        let port = read_reply(&mut replies).await?.parse().map_err(io::Error::other)?;
        Ok(Self { child, requests, replies, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the current state of the server.
    pub(crate) async fn snapshot(&mut self) -> io::Result<ServerSnapshot> {
        self.requests.write_all(b"?\n").await?;
        self.requests.flush().await?;
        Ok(serde_json::from_str(&read_reply(&mut self.replies).await?)?)
    }

    pub(crate) async fn end(mut self) {
        drop(self.requests);
        // The server ends with its standard input. If it does not, dropping the child kills it.
        let _ = timeout(REPLY_TIMEOUT, self.child.wait()).await;
    }
}

async fn read_reply(replies: &mut Lines<BufReader<ChildStdout>>) -> io::Result<String> {
    let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended too early");
    timeout(REPLY_TIMEOUT, replies.next_line()).await??.ok_or_else(ended)
}

const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

//! The upstream as a child process: start, commands and end.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::upstream::conditions::Conditions;
use crate::upstream::network::NetworkCounts;
use crate::upstream::server::{BEGIN, RELEASE, REPORT, SETTLE};

/// A child process that runs this program as an upstream.
pub(crate) struct UpstreamProcess {
    child: Child,
    commands: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
    origin: String,
}

impl UpstreamProcess {
    pub(crate) async fn start(conditions: Conditions, seed: u64) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([FLAG, "--seed", &seed.to_string(), "--conditions", conditions.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(commands), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let replies = BufReader::new(replies).lines();
        let mut upstream = Self { child, commands, replies, origin: String::new() };
        upstream.origin = format!("http://127.0.0.1:{}", upstream.reply().await?);
        Ok(upstream)
    }

    /// Returns the scheme and authority of the URLs.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Waits until no request has arrived for 40 ms.
    pub(crate) async fn settle(&mut self) -> io::Result<()> {
        self.command(SETTLE).await?;
        self.reply().await.map(drop)
    }

    /// Makes the upstream respond to all held requests at once.
    pub(crate) async fn release(&mut self) -> io::Result<()> {
        self.command(RELEASE).await
    }

    /// Ends the calm phase. A request that arrived earlier would be held.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        self.command(BEGIN).await?;
        self.counts().await.map(drop) // the upstream carries out commands in order
    }

    /// Returns the counts since the start of the run.
    pub(crate) async fn counts(&mut self) -> io::Result<NetworkCounts> {
        self.command(REPORT).await?;
        Ok(serde_json::from_str(&self.reply().await?)?)
    }

    /// Returns the counts since the start of the run, and ends the upstream.
    pub(crate) async fn finish(mut self) -> io::Result<NetworkCounts> {
        let counts = self.counts().await?;
        drop(self.commands);
        // The upstream ends with its standard input. If it does not, dropping the child kills it.
        let _ = timeout(REPLY_TIMEOUT, self.child.wait()).await;
        Ok(counts)
    }

    async fn command(&mut self, word: &str) -> io::Result<()> {
        self.commands.write_all(format!("{word}\n").as_bytes()).await?;
        self.commands.flush().await
    }

    async fn reply(&mut self) -> io::Result<String> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the upstream ended too early");
        timeout(REPLY_TIMEOUT, self.replies.next_line()).await??.ok_or_else(ended)
    }
}

/// The hidden argument that makes this program an upstream.
pub(crate) const FLAG: &str = "--upstream";

const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

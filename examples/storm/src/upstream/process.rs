//! The upstream as its client's process sees it: a child to start, to command and to end.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::upstream::network::Tally;
use crate::upstream::{BEGIN, RELEASE, REPORT, SETTLE};

/// This very program once more, as an upstream.
pub(crate) struct Upstream {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    origin: String,
}

impl Upstream {
    pub(crate) async fn start(seed: u64) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([FLAG, "--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let answers = BufReader::new(answers).lines();
        let mut upstream = Self { child, commands, answers, origin: String::new() };
        upstream.origin = format!("http://127.0.0.1:{}", upstream.answer().await?);
        Ok(upstream)
    }

    /// Scheme and authority of its URLs.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Waits until no further request has come to it for a while.
    pub(crate) async fn settle(&mut self) -> io::Result<()> {
        self.command(SETTLE).await?;
        self.answer().await.map(drop)
    }

    /// Lets it answer what it holds, all at once.
    pub(crate) async fn release(&mut self) -> io::Result<()> {
        self.command(RELEASE).await
    }

    /// Starts the weather.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        self.command(BEGIN).await
    }

    /// What it saw since the weather began; then it ends.
    pub(crate) async fn finish(mut self) -> io::Result<Tally> {
        self.command(REPORT).await?;
        let tally = serde_json::from_str(&self.answer().await?)?;
        drop(self.commands);
        // It ends with its standard input; should it not, dropping the child kills it.
        let _ = timeout(PATIENCE, self.child.wait()).await;
        Ok(tally)
    }

    async fn command(&mut self, word: &str) -> io::Result<()> {
        self.commands.write_all(format!("{word}\n").as_bytes()).await?;
        self.commands.flush().await
    }

    async fn answer(&mut self) -> io::Result<String> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the upstream ended too early");
        timeout(PATIENCE, self.answers.next_line()).await??.ok_or_else(ended)
    }
}

/// The hidden argument that makes this program an upstream.
pub(crate) const FLAG: &str = "--upstream";

const PATIENCE: Duration = Duration::from_secs(10);

//! The server as its callers' process sees it: a child to start, to ask and to end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::server::Condition;

/// This very program once more, as the server of some name.
pub(crate) struct Server {
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Server {
    pub(crate) async fn start(name: &str, seed: u64) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--server", name, "--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut answers = BufReader::new(answers).lines();
        let port = answer(&mut answers).await?.parse().map_err(io::Error::other)?;
        Ok(Self { child, questions, answers, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is now.
    pub(crate) async fn condition(&mut self) -> io::Result<Condition> {
        self.questions.write_all(b"?\n").await?;
        self.questions.flush().await?;
        Ok(serde_json::from_str(&answer(&mut self.answers).await?)?)
    }

    pub(crate) async fn end(mut self) {
        drop(self.questions);
        // It ends with its standard input; should it not, dropping the child kills it.
        let _ = timeout(PATIENCE, self.child.wait()).await;
    }
}

async fn answer(answers: &mut Lines<BufReader<ChildStdout>>) -> io::Result<String> {
    let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended too early");
    timeout(PATIENCE, answers.next_line()).await??.ok_or_else(ended)
}

const PATIENCE: Duration = Duration::from_secs(10);

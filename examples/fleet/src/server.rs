//! A redis-server as a child process.

use std::{
    fs,
    io::{self, ErrorKind},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// A redis-server on a free port, without persistence. Dropped, the server is killed.
pub(crate) struct Server {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Server {
    /// Starts a server. The kind of the error is [`ErrorKind::NotFound`] if the program is not installed.
    pub(crate) async fn start() -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("buttress-fleet-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let child = match spawn(port, &directory) {
                Ok(child) => child,
                Err(error) => {
                    let _ = fs::remove_dir_all(&directory);
                    return Err(error);
                }
            };
            let mut server = Self { child, port, directory: directory.clone() };
            if server.is_ready().await {
                return Ok(server);
            }
        }
        Err(io::Error::other("no redis-server began to listen"))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `kill -9`: nothing is saved, and connections break.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts the server again after a kill, and waits until the server replies.
    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        for _ in 0..10 {
            self.child = spawn(self.port, &self.directory)?;
            if self.is_ready().await {
                return Ok(());
            }
        }
        Err(io::Error::other("redis-server does not start again"))
    }

    /// Stops the process: connections stay open, and no reply comes.
    pub(crate) fn stop(&self) -> io::Result<()> {
        self.signal("-STOP")
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    /// Returns the bytes that the server has allocated.
    pub(crate) async fn used_memory(&self) -> io::Result<u64> {
        let info = self.ask("INFO memory").await?;
        let value = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        value.and_then(|bytes| bytes.trim().parse().ok()).ok_or(ErrorKind::InvalidData.into())
    }

    fn signal(&self, signal: &str) -> io::Result<()> {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill {signal}"))) }
    }

    async fn is_ready(&mut self) -> bool {
        let end = Instant::now() + START_TIME;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            if matches!(timeout(START_TIME, self.ask("PING")).await, Ok(Ok(_))) {
                return true;
            }
            sleep(Duration::from_millis(1)).await;
        }
        let _ = self.kill();
        false
    }

    /// Sends an inline command, whose reply is a status or a string.
    async fn ask(&self, command: &str) -> io::Result<String> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?);
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let (kind, rest) = line.split_at_checked(1).ok_or(ErrorKind::UnexpectedEof)?;
        match (kind, rest.trim().parse()) {
            ("+", _) => Ok(rest.to_owned()),
            ("$", Ok(length)) => {
                let mut bytes = vec![0; length];
                stream.read_exact(&mut bytes).await?;
                String::from_utf8(bytes).map_err(io::Error::other)
            }
            _ => Err(io::Error::other(line)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(port: u16, directory: &PathBuf) -> io::Result<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.arg("--dir").arg(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()
}

const START_TIME: Duration = Duration::from_secs(10);

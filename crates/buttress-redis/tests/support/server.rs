use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisResult, aio::MultiplexedConnection,
};
use tokio::time::{sleep, timeout};

/// A redis-server on a free port. Dropped, also by a panic, the server is killed.
pub(crate) struct Server {
    pub(crate) port: u16,
    options: Vec<String>,
    directory: PathBuf,
    process: Process,
}

/// A server that ends with this process, whatever ends this process.
struct Process {
    server: Child,
    /// Kills the server when this process has closed the pipe.
    watchdog: Child,
}

impl Process {
    fn is_over(&mut self) -> bool {
        self.server.try_wait().unwrap().is_some()
    }

    fn kill(&mut self) {
        // First, because another process may get the number of the server.
        for child in [&mut self.watchdog, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts a server. `None`, with a line that says so, where redis-server is not installed.
    ///
    /// Panics instead if `CI` or `BUTTRESS_REQUIRE_REDIS` is set.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &[]).await
    }

    pub(crate) async fn start_with(test: &str, options: &[&str]) -> Option<Self> {
        if !is_installed() {
            let is_required = ["CI", "BUTTRESS_REQUIRE_REDIS"]
                .iter()
                .any(|name| std::env::var_os(name).is_some());
            assert!(!is_required, "redis-server is missing: apt-get install -y redis-server");
            eprintln!("left out, because redis-server is not installed: {test}");
            return None;
        }
        for _ in 0..10 {
            let port = free_port();
            let directory =
                std::env::temp_dir().join(format!("buttress-redis-{port}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            let process = spawn(port, &directory, &options);
            let mut server = Self { port, options, directory, process };
            if server.answers().await {
                return Some(server);
            }
        }
        panic!("no redis-server began to listen");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the operator.
    pub(crate) async fn admin(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).unwrap();
        connect(&client).await.unwrap()
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_run(command).await.unwrap()
    }

    pub(crate) async fn try_run<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let (name, arguments) = command.split_first().unwrap();
        let mut cmd = Cmd::new();
        cmd.arg(*name).arg(arguments);
        cmd.query_async(&mut self.admin().await).await
    }

    /// The number of the calls of a command, such as `evalsha`.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let stats: String = self.run(&["INFO", "commandstats"]).await;
        let line =
            stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| {
            let calls = line.split('=').nth(1).unwrap().split(',').next().unwrap();
            calls.parse().unwrap()
        })
    }

    /// `kill -9`: nothing is saved, and connections break.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again, on the same port.
    pub(crate) async fn restart(&mut self) {
        for _ in 0..100 {
            self.process = spawn(self.port, &self.directory, &self.options);
            if self.answers().await {
                return;
            }
        }
        panic!("the port is taken");
    }

    /// Sets the options of the next start.
    pub(crate) fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(ToString::to_string).collect();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let killed =
            Command::new("kill").args([signal, &self.process.server.id().to_string()]).status();
        assert!(killed.unwrap().success());
    }

    async fn answers(&mut self) -> bool {
        let client = Client::open(self.url()).unwrap();
        for _ in 0..1000 {
            if self.process.is_over() {
                return false;
            }
            let ping = async {
                let mut connection = connect(&client).await?;
                redis::cmd("PING").query_async::<String>(&mut connection).await
            };
            // A server that loads its data, or wants a password, is there too.
            match timeout(Duration::from_secs(10), ping).await {
                Ok(Ok(_)) => return true,
                Ok(Err(error)) if error.code().is_some() => return true,
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn is_installed() -> bool {
    let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

pub(crate) fn free_port() -> u16 {
    // The bus of a cluster is at the port plus 10,000.
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn spawn(port: u16, directory: &Path, options: &[String]) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.arg("--dir").arg(directory).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = command.spawn().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", WATCHDOG, "watchdog", &server.id().to_string()]).arg(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Process { server, watchdog: command.spawn().unwrap() }
}

/// Waits for the end of the pipe. A signal to all processes of a terminal does not end the wait.
const WATCHDOG: &str = "trap '' HUP INT TERM; read -r _; kill -9 \"$1\"; rm -rf \"$2\"";

/// By default the client gives up after 500 ms, which a busy machine can take.
async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new();
    let config = config.set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

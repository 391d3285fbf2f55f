//! A Prometheus of its own, that lives as long as its value.

use std::{
    fmt::Write,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep};

pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    http: reqwest::Client,
}

/// A series of an answer: its labels and its present value.
#[derive(Debug)]
pub(crate) struct Sample {
    #[expect(dead_code, reason = "shown if the test fails")]
    pub(crate) labels: Value,
    pub(crate) value: f64,
}

impl Prometheus {
    /// Whether the program is installed.
    pub(crate) fn is_installed() -> bool {
        let mut version = Command::new(PROGRAM);
        version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    }

    /// Starts a server that scrapes `target`, and waits until it is ready. `folder` is for its config,
    /// its data and its log.
    pub(crate) async fn start(target: SocketAddr, folder: &Path) -> Self {
        // Another program may take the port before the server has.
        for _ in 0..3 {
            let mut server = Self::spawn(target, folder);
            if server.is_ready().await {
                return server;
            }
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("prometheus does not start:\n{log}");
    }

    fn spawn(target: SocketAddr, folder: &Path) -> Self {
        drop(fs::remove_dir_all(folder));
        fs::create_dir_all(folder).unwrap();
        let config = folder.join("prometheus.yml");
        let scrape = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
             scrape_configs: [{{job_name: service, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&config, scrape).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let process = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, address, http: reqwest::Client::new() }
    }

    async fn is_ready(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < START {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            let ready = self.http.get(format!("http://{}/-/ready", self.address)).send().await;
            if ready.is_ok_and(|response| response.status().is_success()) {
                return true;
            }
            sleep(POLL).await;
        }
        false
    }

    /// The present result of `query`.
    pub(crate) async fn query(&self, query: &str) -> Vec<Sample> {
        let answer = self.api(&format!("query?query={}", encoded(query))).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array().unwrap().iter();
        let sample = |series: &Value| Sample {
            labels: series["metric"].clone(),
            value: series["value"][1].as_str().unwrap().parse().unwrap(),
        };
        result.map(sample).collect()
    }

    /// The kind, unit and help of each metric, as the target gives them.
    pub(crate) async fn metadata(&self) -> Value {
        self.api("metadata").await["data"].clone()
    }

    async fn api(&self, path: &str) -> Value {
        let address = format!("http://{}/api/v1/{path}", self.address);
        let text = self.http.get(address).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Also when a test panics. No other process is ended.
impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn encoded(query: &str) -> String {
    let mut encoded = String::new();
    for byte in query.bytes() {
        write!(encoded, "%{byte:02X}").unwrap();
    }
    encoded
}

const PROGRAM: &str = "prometheus";
const START: Duration = Duration::from_secs(30);
pub(crate) const POLL: Duration = Duration::from_millis(100);

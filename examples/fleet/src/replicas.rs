//! The replicas as child processes.

use std::{io, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::clock::{SharedClock, micros};
use crate::job::{Job, Report, Traffic};

/// What a fleet does for a while: the calls of each replica.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) rate: u32,
    pub(crate) burst: u32,
    pub(crate) traffic: Box<dyn Fn(Replica) -> Traffic>,
}

/// One of several replicas.
#[derive(Clone, Copy)]
pub(crate) struct Replica {
    pub(crate) number: u32,
    pub(crate) of: u32,
}

impl Replica {
    /// Returns the part of this replica in a load of the whole fleet.
    pub(crate) fn part_of(self, load: f64) -> f64 {
        load / f64::from(self.of)
    }
}

/// Replicas with one job.
pub(crate) struct Working<'a> {
    replicas: &'a mut [Process],
    pub(crate) clock: SharedClock,
    /// When the calls begin, by the shared clock.
    pub(crate) start: u64,
    time: Duration,
}

pub(crate) struct Replicas {
    processes: Vec<Process>,
}

impl Replicas {
    pub(crate) fn start(number: u32) -> io::Result<Self> {
        Ok(Self { processes: (0..number).map(|_| Process::start()).collect::<Result<_, _>>()? })
    }

    /// Gives all replicas a job, which begins a little later.
    pub(crate) async fn begin(&mut self, url: &str, load: &Load) -> io::Result<Working<'_>> {
        let clock = SharedClock::read();
        let start = clock.now() + micros(CONNECT_TIME);
        let of = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        let mut time = Duration::ZERO;
        for (number, process) in (0..).zip(&mut self.processes) {
            let traffic = (load.traffic)(Replica { number, of });
            time = traffic.time();
            let job = Job {
                url: url.to_owned(),
                name: load.name.to_owned(),
                replicas: of,
                rate: load.rate,
                burst: load.burst,
                start,
                traffic,
            };
            process.give(&job).await?;
        }
        Ok(Working { replicas: &mut self.processes, clock, start, time })
    }

    /// Gives all replicas a job, and waits for the reports.
    pub(crate) async fn run(&mut self, url: &str, load: &Load) -> io::Result<Vec<Report>> {
        self.begin(url, load).await?.reports().await
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().filter_map(|process| process.child.id()).collect()
    }
}

impl Working<'_> {
    /// Kills the first replica. Another process takes its place, without a job.
    pub(crate) async fn kill_first(&mut self) -> io::Result<()> {
        let replicas = std::mem::take(&mut self.replicas);
        if let Some((first, others)) = replicas.split_first_mut() {
            first.child.kill().await?;
            *first = Process::start()?;
            self.replicas = others;
        }
        Ok(())
    }

    /// Returns the microseconds since the calls began.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now().saturating_sub(self.start)
    }

    pub(crate) async fn sleep_until(&self, since_start: Duration) {
        tokio::time::sleep_until(self.clock.instant(self.start + micros(since_start))).await;
    }

    pub(crate) async fn reports(self) -> io::Result<Vec<Report>> {
        let mut reports = Vec::new();
        for process in self.replicas {
            reports.push(process.report(CONNECT_TIME + self.time + SLACK).await?);
        }
        let stepped = reports.iter().map(|report| report.clock_stepped).max().unwrap_or_default();
        if stepped > Duration::from_millis(1) {
            eprintln!("the wall clock stepped by {stepped:?}: times of replicas do not compare");
        }
        Ok(reports)
    }
}

/// A child process that runs this program as a replica.
struct Process {
    child: Child,
    jobs: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(jobs), Some(reports)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Self { child, jobs, reports: BufReader::new(reports).lines() })
    }

    async fn give(&mut self, job: &Job) -> io::Result<()> {
        let line = format!("{}\n", serde_json::to_string(job)?);
        self.jobs.write_all(line.as_bytes()).await?;
        self.jobs.flush().await
    }

    async fn report(&mut self, patience: Duration) -> io::Result<Report> {
        let line = timeout(patience, self.reports.next_line()).await??;
        let line = line.ok_or_else(|| io::Error::other("a replica ended too early"))?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// Returns the memory of each process, in KiB.
pub(crate) async fn resident_kib(pids: &[u32]) -> io::Result<Vec<u64>> {
    let list = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let output = Command::new("ps").args(["-o", "rss=", "-p", &list]).output().await?;
    let text = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    text.split_whitespace().map(|kib| kib.parse().map_err(io::Error::other)).collect()
}

/// The hidden argument that makes this program a replica.
pub(crate) const FLAG: &str = "--replica";

/// The time for a replica to connect before its first call.
const CONNECT_TIME: Duration = Duration::from_millis(300);
/// More than a replica takes to report.
const SLACK: Duration = Duration::from_secs(20);

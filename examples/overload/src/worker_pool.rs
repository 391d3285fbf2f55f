//! A pool of workers with an unbounded queue. It stands for a database or a thread pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, LogNormal};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// A handle that sends jobs to the workers.
///
/// The queue is unbounded, and the workers complete a queued job even if its caller has left. Likewise a
/// database does not learn that a user has closed the page.
#[derive(Clone)]
pub(crate) struct WorkerPool {
    jobs: mpsc::UnboundedSender<Job>,
    counts: Arc<JobCounts>,
}

struct Job {
    queued_at: Instant,
    work_time: Duration,
    /// The memory of the job, which becomes the response.
    page: Vec<u8>,
    response: oneshot::Sender<Bytes>,
}

/// The number of jobs in the pool, queued or in progress.
#[derive(Default)]
struct JobCounts {
    now: AtomicUsize,
    max: AtomicUsize,
}

impl WorkerPool {
    /// Starts the workers. They stop when the returned set is dropped.
    pub(crate) fn open() -> (Self, JoinSet<()>) {
        let (jobs, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        let counts = Arc::<JobCounts>::default();
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(work(Arc::clone(&queue), Arc::clone(&counts)));
        }
        (Self { jobs, counts }, workers)
    }

    /// Makes a page; `None` if the pool is closed.
    pub(crate) async fn page(&self, work_time: Duration) -> Option<Bytes> {
        let (response, receiver) = oneshot::channel();
        let job = Job { queued_at: Instant::now(), work_time, page: vec![b'.'; PAGE], response };
        let now = self.counts.now.fetch_add(1, Relaxed) + 1;
        self.counts.max.fetch_max(now, Relaxed);
        self.jobs.send(job).ok()?;
        receiver.await.ok()
    }

    /// Returns the most jobs in the pool at once so far.
    pub(crate) fn max_jobs(&self) -> usize {
        self.counts.max.load(Relaxed)
    }
}

/// Runs a worker: one job at a time, in the order of the queue.
///
/// A job begins when the previous job was due, not when its timer fired. The timer fires up to a millisecond
/// later, and later still on a loaded machine. So the capacity is exact as long as jobs are queued.
async fn work(queue: Arc<Mutex<mpsc::UnboundedReceiver<Job>>>, counts: Arc<JobCounts>) {
    let mut free = Instant::now();
    loop {
        let Some(job) = queue.lock().await.recv().await else { return };
        free = free.max(job.queued_at) + job.work_time;
        sleep_until(free).await;
        counts.now.fetch_sub(1, Relaxed);
        // An error here means that the caller has left, so the result is dropped.
        let _ = job.response.send(job.page.into());
    }
}

/// The work times of jobs: 40 ms on average, times a lognormal factor.
pub(crate) struct WorkTimes {
    random: Xoshiro256PlusPlus,
}

impl WorkTimes {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    pub(crate) fn draw(&mut self) -> Duration {
        // The mean of a lognormal factor is exp(µ + σ²/2): 1 with this µ.
        let factors = LogNormal::new(-SIGMA * SIGMA / 2.0, SIGMA);
        MEAN.mul_f64(factors.map_or(1.0, |factors| factors.sample(&mut self.random)))
    }
}

/// Returns the number of jobs that the workers complete per second.
pub(crate) fn capacity() -> f64 {
    f64::from(WORKERS) / MEAN.as_secs_f64()
}

const WORKERS: u32 = 8;
const MEAN: Duration = Duration::from_millis(40);
const SIGMA: f64 = 0.25;

/// Bytes of a response, and of a queued job.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::yield_now;

    #[test]
    fn work_time_is_40_ms_on_average() {
        let mut times = WorkTimes::new(3);
        let total: Duration = (0..20_000).map(|_| times.draw()).sum();
        // The standard deviation of a factor is √(e^.0625 − 1) = .254: five of the mean are .36 ms.
        let mean = total.as_secs_f64() / 20_000.0;
        assert!((0.0396..0.0404).contains(&mean), "{mean}");
    }

    #[tokio::test(start_paused = true)]
    async fn ninth_job_waits_for_one_of_eight_workers() {
        let (pool, _workers) = WorkerPool::open();
        let start = Instant::now();
        let mut pages = JoinSet::new();
        for _ in 0..9 {
            let pool = pool.clone();
            pages.spawn(async move {
                let page = pool.page(Duration::from_millis(30)).await;
                (page.map(|page| page.len()), start.elapsed().as_millis())
            });
            yield_now().await;
        }
        let mut made = pages.join_all().await;
        made.sort_unstable();
        assert_eq!(made[7], (Some(4096), 30));
        assert_eq!(made[8], (Some(4096), 60));
        assert_eq!(pool.max_jobs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn job_is_completed_after_its_caller_has_left() {
        let (pool, _workers) = WorkerPool::open();
        let start = Instant::now();
        for _ in 0..8 {
            let gone = pool.page(Duration::from_millis(30));
            let _ = tokio::time::timeout(Duration::ZERO, gone).await;
        }
        assert!(pool.page(Duration::from_millis(10)).await.is_some());
        assert_eq!(start.elapsed().as_millis(), 40);
    }
}

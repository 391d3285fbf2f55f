//! What the server is for: a pool of workers with a queue before it, as a database or a thread pool is.

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

/// The way to the workers.
///
/// Their queue has no bound, and what stands in it is worked on whether or not anybody still waits for it:
/// nobody tells a database that a user has closed the page.
#[derive(Clone)]
pub(crate) struct Pool {
    jobs: mpsc::UnboundedSender<Job>,
    held: Arc<Held>,
}

struct Job {
    came: Instant,
    takes: Duration,
    /// What is worked on; it becomes the answer.
    page: Vec<u8>,
    answer: oneshot::Sender<Bytes>,
}

/// How many jobs are in the pool, in the queue or with a worker.
#[derive(Default)]
struct Held {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Pool {
    /// Employs the workers, which work as long as the set is kept.
    pub(crate) fn open() -> (Self, JoinSet<()>) {
        let (jobs, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        let held = Arc::<Held>::default();
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(work(Arc::clone(&queue), Arc::clone(&held)));
        }
        (Self { jobs, held }, workers)
    }

    /// Has a page made; `None` if the pool is closed.
    pub(crate) async fn page(&self, takes: Duration) -> Option<Bytes> {
        let (answer, answered) = oneshot::channel();
        let job = Job { came: Instant::now(), takes, page: vec![b'.'; PAGE], answer };
        let held = self.held.now.fetch_add(1, Relaxed) + 1;
        self.held.most.fetch_max(held, Relaxed);
        self.jobs.send(job).ok()?;
        answered.await.ok()
    }

    /// The most jobs it has ever held at once.
    pub(crate) fn most(&self) -> usize {
        self.held.most.load(Relaxed)
    }
}

/// One worker: a job at a time, in the order they came.
///
/// It begins a job when the last one was due and not when its timer fired, which is up to a millisecond
/// later and more on a loaded machine. So the capacity is what is stated, as long as jobs are there.
async fn work(queue: Arc<Mutex<mpsc::UnboundedReceiver<Job>>>, held: Arc<Held>) {
    let mut free = Instant::now();
    loop {
        let Some(job) = queue.lock().await.recv().await else { return };
        free = free.max(job.came) + job.takes;
        sleep_until(free).await;
        held.now.fetch_sub(1, Relaxed);
        // An error here is a caller that has gone: the work was for nothing.
        let _ = job.answer.send(job.page.into());
    }
}

/// How long jobs take: 40 ms on average, times a lognormal factor.
pub(crate) struct Times {
    random: Xoshiro256PlusPlus,
}

impl Times {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    pub(crate) fn draw(&mut self) -> Duration {
        // The mean of a lognormal factor is exp(µ + σ²/2): 1 with this µ.
        let factors = LogNormal::new(-SIGMA * SIGMA / 2.0, SIGMA);
        MEAN.mul_f64(factors.map_or(1.0, |factors| factors.sample(&mut self.random)))
    }
}

/// Jobs a second that the workers can do.
pub(crate) fn capacity() -> f64 {
    f64::from(WORKERS) / MEAN.as_secs_f64()
}

const WORKERS: u32 = 8;
const MEAN: Duration = Duration::from_millis(40);
const SIGMA: f64 = 0.25;

/// Bytes of an answer, and of a job while it waits.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::yield_now;

    #[test]
    fn work_takes_forty_milliseconds_on_average() {
        let mut times = Times::new(3);
        let total: Duration = (0..20_000).map(|_| times.draw()).sum();
        // The standard deviation of a factor is √(e^.0625 − 1) = .254: five of the mean are .36 ms.
        let mean = total.as_secs_f64() / 20_000.0;
        assert!((0.0396..0.0404).contains(&mean), "{mean}");
    }

    #[tokio::test(start_paused = true)]
    async fn eight_jobs_are_worked_on_at_a_time_and_the_ninth_waits() {
        let (pool, _workers) = Pool::open();
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
        assert_eq!(pool.most(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_of_a_caller_who_has_gone_is_done_all_the_same() {
        let (pool, _workers) = Pool::open();
        let start = Instant::now();
        for _ in 0..8 {
            let gone = pool.page(Duration::from_millis(30));
            let _ = tokio::time::timeout(Duration::ZERO, gone).await;
        }
        assert!(pool.page(Duration::from_millis(10)).await.is_some());
        assert_eq!(start.elapsed().as_millis(), 40);
    }
}

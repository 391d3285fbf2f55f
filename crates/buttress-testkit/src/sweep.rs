use std::{
    fmt,
    future::{Future, IntoFuture, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::time::timeout;

use crate::{Probe, contract::settle};

/// Makes a call repeatedly, and drops it at each point where it can be dropped: before its first
/// poll, after each poll that left it pending, and after a wake-up before the next poll. The sweep
/// stops once the call ends.
///
/// After each drop a whole call is made, which must end within a day of paused time.
///
/// Pass a whole stack, called as in production: on a clone with `oneshot`, or on a shared handle.
/// The sweep runs on tokio's clock, which should be paused. Awaiting the sweep returns the number
/// of drops.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use buttress_testkit::{Probe, sweep};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// let probe = Probe::new(|n: u32| Ok::<_, std::io::Error>(n)).permits(1).pausing(2);
/// let stack = ServiceBuilder::new().concurrency_limit(1).service(probe.clone());
///
/// let drops = sweep(|| stack.clone().oneshot(1)).over(&probe).await;
/// assert_eq!(drops, 5);
/// # }
/// ```
///
/// # Panics
///
/// If something is left behind, or if a later call is not served.
#[doc(alias("test a layer", "cancellation safety"))]
pub fn sweep<'a, C, F>(call: C) -> Sweep<'a, C>
where
    C: FnMut() -> F + 'a,
    F: Future + 'a,
{
    Sweep { call, checks: Vec::new(), calls: Vec::new() }
}

/// A [`sweep`] that runs when it is awaited.
#[must_use = "nothing is checked unless it is awaited"]
pub struct Sweep<'a, C> {
    call: C,
    checks: Vec<SweepCheck<'a>>,
    calls: Vec<Box<dyn Fn() -> usize + 'a>>,
}

impl<'a, C> Sweep<'a, C> {
    /// After each drop, `probe` must be [at rest](Probe::at_rest), and a new instance must get a
    /// permit.
    ///
    /// # Panics
    ///
    /// The sweep panics if not.
    pub fn over<Req, Res, E>(mut self, probe: &Probe<Req, Res, E>) -> Self
    where
        Req: 'a,
        Res: 'a,
        E: 'a,
    {
        let (probe, counter) = (probe.clone(), probe.clone());
        self.calls.push(Box::new(move || counter.calls()));
        self.also(move |when| {
            assert!(
                probe.live() == 0,
                "{when}: dropping the response drops the call, and {} live on",
                probe.live()
            );
            assert!(
                probe.at_rest(),
                "{when}: nothing reserved is stranded, and {} instances hold a permit, {} wait",
                probe.reserved(),
                probe.waiting()
            );
            assert!(
                probe.reserve().is_some(),
                "{when}: nothing reserved is stranded, and a stranger gets no permit"
            );
        })
    }

    /// Runs `check` after each drop, for example of a number in flight or of a map that must be
    /// empty. The argument of `check` says when the drop was, for its messages.
    pub fn also(mut self, check: impl Fn(&str) + 'a) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    fn calls(&self) -> usize {
        self.calls.iter().map(|calls| calls()).sum()
    }

    fn check(&self, when: &str) {
        for check in &self.checks {
            check(when);
        }
    }
}

impl<'a, C, F> IntoFuture for Sweep<'a, C>
where
    C: FnMut() -> F + 'a,
    F: Future + 'a,
{
    type Output = usize;
    type IntoFuture = Pin<Box<dyn Future<Output = usize> + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut drops = 0;
            for polls in 0.. {
                for woken in [false, true].into_iter().take(1 + polls.min(1)) {
                    let when = Point { polls, woken };
                    if run_up_to(when, (self.call)()).await {
                        return drops;
                    }
                    drops += 1;
                    self.check(&when.to_string());
                    let calls = self.calls();
                    settle().await;
                    assert!(
                        calls == self.calls(),
                        "{when}: dropping the response drops the call, and the service was called \
                         afterwards"
                    );
                    self.check(&when.to_string());
                    let served = timeout(DAY, (self.call)()).await.is_ok();
                    assert!(served, "{when}: the next call does not end within a day");
                    self.check(&format!("{when}, and a call after it ended"));
                }
            }
            drops
        })
    }
}

impl<C> fmt::Debug for Sweep<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep").finish_non_exhaustive()
    }
}

/// The point at which a call is dropped.
#[derive(Clone, Copy)]
struct Point {
    polls: usize,
    woken: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let woken = if self.woken { " and a wake" } else { "" };
        write!(f, "a call was dropped after {} polls{woken}", self.polls)
    }
}

/// Runs `call` to the point and drops it there. Returns whether the call ended before.
async fn run_up_to<F: Future>(point: Point, call: F) -> bool {
    let mut call = pin!(call);
    let mut polls = 0;
    let run = poll_fn(|cx| {
        if polls == point.polls {
            return Poll::Ready(false);
        }
        if call.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        polls += 1;
        if polls == point.polls && !point.woken { Poll::Ready(false) } else { Poll::Pending }
    });
    let ended = timeout(DAY, run).await;
    assert!(ended.is_ok(), "a call was pending after {polls} polls, and not woken within a day");
    ended.unwrap_or(true)
}

type SweepCheck<'a> = Box<dyn Fn(&str) + 'a>;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

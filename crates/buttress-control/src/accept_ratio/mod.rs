mod outstanding;
mod request_window;
mod sent;
mod usual;

use std::time::Duration;

use self::outstanding::Outstanding;
use self::request_window::{RequestWindow, WindowTotals};
use self::usual::Usual;
use crate::numbers::nanos::saturating_nanos;
use crate::numbers::ratio::MILLION;
use crate::window::{MIN_WINDOW, Ticks};
use crate::{Nanos, Ratio};

pub use self::sent::{RequestEnd, SentRequest};

/// Client-side throttling: sends as many requests as the service lately accepted, times a
/// multiplier, and rejects the rest before they are sent.
///
/// A request is rejected with the probability `max(0, (requests - K · accepts) / (requests + 1))`,
/// over the requests and accepts of the last window. This is [adaptive throttling][sre] of the SRE
/// book, chapter "Handling Overload". While the service accepts at least one request in `K`, no
/// request is rejected.
///
/// ```
/// use buttress_control::{AcceptRatio, Nanos};
///
/// let throttle = AcceptRatio::new();
/// let now = Nanos::new(0);
/// for _ in 0..100 {
///     throttle.attempt(now, 1.0); // a draw that is never rejected
/// }
/// (0..40).for_each(|_| throttle.accept(now));
/// assert_eq!(throttle.rejection_probability(now), 20.0 / 101.0);
/// assert!(!throttle.attempt(now, 0.1));
/// ```
///
/// # What to count
///
/// An accept is an answer of the service that does not say that the service is overloaded. A
/// request counts
///
/// * at once if it is rejected here,
/// * when it is answered, or
/// * when it is *late*: without an answer after twice the usual latency.
///
/// So the law notices that a service hangs even before its first answer. Concurrent calls are not
/// held against a service that has had no time to answer them. [`AcceptRatio::send`] and
/// [`AcceptRatio::end`] keep these counts. [`AcceptRatio::attempt`] and [`AcceptRatio::accept`] are
/// the formula alone: there a request counts when it is made.
///
/// Most accepted calls stay below the usual latency. Each accepted call that takes longer raises
/// the estimate by up to 30 %. Every other accepted call lowers it by up to 1.6 %. Less than 5 ms
/// counts as 5 ms. While the window holds no accepted call, the usual latency is at least
/// [`AcceptRatio::initial_latency`].
///
/// The window must be longer than the longest call. A call is late after half a window at the
/// latest.
///
/// # Time
///
/// The window moves in 32 steps, and counts its requests for at most a thirtieth longer. A time
/// before the latest time counts as the latest.
///
/// # Sharing
///
/// A request and an accept are a few compare-and-swaps each, without a lock. The first call of a
/// step takes the sums of the window. A concurrent request or accept may count a step later.
///
/// # Bounds
///
/// A multiplier under 1 counts as 1, and a cap over 1 as 1. A window under 20 ms counts as 20 ms. A
/// step counts at most 16,777,215 requests and as many accepts. Further ones are ignored.
///
/// # Defaults
///
/// `AcceptRatio::new()` has a multiplier of 2, a window of two minutes and a cap of 90 %. It
/// rejects from the first request on, and assumes a latency of 250 ms at first.
///
/// [sre]: https://sre.google/sre-book/handling-overload/#eq2101
#[derive(Debug)]
pub struct AcceptRatio {
    window: RequestWindow,
    /// In parts per million.
    multiplier: u64,
    cap: f64,
    at_least: u64,
    outstanding: Outstanding,
    usual: Usual,
}

impl AcceptRatio {
    /// Creates a throttle that has counted nothing yet.
    pub fn new() -> Self {
        Self {
            window: RequestWindow::new(Ticks::covering(WINDOW)),
            multiplier: u64::from(2 * MILLION),
            cap: 0.9,
            at_least: 0,
            outstanding: Outstanding::new(),
            usual: Usual::assuming(Usual::DEFAULT_LATENCY, saturating_nanos(WINDOW) / 2),
        }
    }

    /// Sets how many requests are sent per accepted request. Default: 2. The requests above the
    /// accepted ones show when the service has recovered.
    pub fn multiplier(mut self, k: Ratio) -> Self {
        self.multiplier = u64::from(k.parts_per_million().max(MILLION));
        self
    }

    /// Sets how long requests and accepts count. Default: two minutes.
    pub fn window(mut self, window: Duration) -> Self {
        let window = window.max(MIN_WINDOW);
        self.window.ticks = Ticks::covering(window);
        self.usual.wait_at_most(saturating_nanos(window) / 2);
        self
    }

    /// Sets the maximum rejection probability. Default: 90 %. The remaining requests find out
    /// whether the service has recovered.
    pub fn max_rejection(mut self, cap: Ratio) -> Self {
        self.cap = cap.as_f64().min(1.0);
        self
    }

    /// Sets the number of requests in the window below which no request is rejected. Default: 0.
    pub fn min_requests(mut self, requests: u32) -> Self {
        self.at_least = u64::from(requests);
        self
    }

    /// Sets the latency that is assumed until calls have been accepted. Default: 250 ms. A call
    /// without an answer counts after twice that.
    ///
    /// If the first answers of a service take longer than twice this latency, calls are rejected
    /// until the answers come, with a probability of up to
    /// [`max_rejection`](Self::max_rejection).
    pub fn initial_latency(mut self, latency: Duration) -> Self {
        self.usual.assume(saturating_nanos(latency));
        self
    }

    /// Returns a throttle with the same options that has counted nothing yet.
    pub fn fresh(&self) -> Self {
        let Self { multiplier, cap, at_least, .. } = *self;
        let window = RequestWindow::new(self.window.ticks);
        Self { window, multiplier, cap, at_least, usual: self.usual.fresh(), ..Self::new() }
    }

    /// Returns whether the window holds no request, so that a new throttle would behave the same.
    pub fn is_fresh(&self, now: Nanos) -> bool {
        self.window.totals(self.window.latest_tick(now)).requests == 0
    }

    /// Counts a request, and returns whether to send the request.
    ///
    /// `random` is a uniform draw from `[0, 1)`, a new draw for each request. NaN counts as 0.
    #[inline]
    pub fn attempt(&self, now: Nanos, random: f64) -> bool {
        let tick = self.window.latest_tick(now);
        // Decides before the request is added, so a request is not held against itself.
        let sent = self.admits(tick, now, random).is_some();
        self.window.add_request(tick);
        sent
    }

    /// Returns the request if it is to be sent. The request counts when it [ends](Self::end), or is
    /// late. A request that is not to be sent counts at once.
    ///
    /// `random` is a uniform draw from `[0, 1)`, a new draw for each request. NaN counts as 0.
    #[inline]
    pub fn send(&self, now: Nanos, random: f64) -> Option<SentRequest> {
        let tick = self.window.latest_tick(now);
        // Must run before `add_request`: otherwise another thread in `counted` could see the
        // request as one that counts already. Relaxed orderings do not force other CPUs to see this
        // order. There the request may count early for a moment.
        let sent = self.admits(tick, now, random).map(|accepts| {
            let generation = self.outstanding.begin(now, self.usual.patience(accepts));
            SentRequest { at: now, generation }
        });
        self.window.add_request(tick);
        sent
    }

    /// Ends a request that was sent.
    #[inline]
    pub fn end(&self, now: Nanos, sent: SentRequest, how: RequestEnd) {
        match how {
            RequestEnd::Accepted => {
                // Late answers teach too. Otherwise, if a service became more than twice as slow,
                // all its calls would stay late.
                self.usual.learn(now.get().saturating_sub(sent.at.get()));
                self.accept(now);
            }
            RequestEnd::Failed => {}
            RequestEnd::GivenUp if self.is_late(now, sent) => {}
            RequestEnd::GivenUp | RequestEnd::Void => self.forget(now),
        }
        // Must run after `accept`: otherwise another thread in `counted` could see the request as
        // one that counts, and not its accept.
        self.outstanding.end(sent.generation);
    }

    /// Counts an answer that shows that the service is not overloaded.
    #[inline]
    pub fn accept(&self, now: Nanos) {
        self.window.add_accept(self.window.latest_tick(now));
    }

    /// Removes a request whose outcome says nothing about the service: cancelled, or rejected
    /// further in.
    ///
    /// The request is removed from the newest step that has a request, which may not be its own. If
    /// the window has none, nothing is removed.
    pub fn forget(&self, now: Nanos) {
        let tick = self.window.latest_tick(now);
        self.window.remove_request(tick);
    }

    /// Returns the probability with which a request would be rejected now, from 0 to the cap.
    pub fn rejection_probability(&self, now: Nanos) -> f64 {
        let tick = self.window.latest_tick(now);
        self.probability(self.counted(tick, self.window.totals(tick), now))
    }

    /// The accepts of the window, if another request is to be sent.
    #[inline]
    fn admits(&self, tick: u64, now: Nanos, random: f64) -> Option<u64> {
        let totals = self.window.totals(tick);
        // The accepts almost always cover even the requests that do not count yet.
        (self.covers(totals) || self.spares(tick, totals, now, random)).then_some(totals.accepts)
    }

    #[cold]
    fn spares(&self, tick: u64, totals: WindowTotals, now: Nanos, random: f64) -> bool {
        let rejection = self.probability(self.counted(tick, totals, now));
        rejection <= 0.0 || random >= rejection
    }

    #[inline]
    fn covers(&self, WindowTotals { requests, accepts }: WindowTotals) -> bool {
        // Neither overflows: a window counts less than 2^29 of each, and a multiplier is at most
        // 10^9.
        requests < self.at_least || requests * u64::from(MILLION) <= accepts * self.multiplier
    }

    fn probability(&self, totals: WindowTotals) -> f64 {
        if self.covers(totals) {
            return 0.0;
        }
        let WindowTotals { requests, accepts } = totals;
        let accepted = float(accepts * self.multiplier) / f64::from(MILLION);
        ((float(requests) - accepted) / (float(requests) + 1.0)).clamp(0.0, self.cap)
    }

    /// The totals without the requests that may still be answered in time.
    fn counted(
        &self,
        tick: u64,
        WindowTotals { requests, accepts }: WindowTotals,
        now: Nanos,
    ) -> WindowTotals {
        let young = self.outstanding.young(now, self.usual.patience(accepts));
        // Read the accepts again after `young`: a request that has ended meanwhile may have been
        // accepted. `end` counts the accept before it ends the request.
        WindowTotals {
            requests: requests.saturating_sub(young),
            accepts: self.window.totals(tick).accepts,
        }
    }

    fn is_late(&self, now: Nanos, sent: SentRequest) -> bool {
        // By its own time, and not by that of its generation, which may be an eighth later.
        let accepts = self.window.totals(self.window.latest_tick(now)).accepts;
        now.get().saturating_sub(sent.at.get()) >= self.usual.patience(accepts)
    }
}

impl Default for AcceptRatio {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a part in 2^53 of a probability")]
fn float(count: u64) -> f64 {
    count as f64
}

const WINDOW: Duration = Duration::from_secs(120);

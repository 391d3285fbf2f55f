use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::times::{Random, Times};

/// A service with a limit in front of it, simulated: calls arrive by chance, wait for one of its servers, and
/// are refused while as many as the limit are in flight.
///
/// In [Kendall's notation][kendall] this is M/G/c/K, where K is the limit, and whoever is told of each call
/// may change it.
///
/// ```
/// use std::time::Duration;
/// use buttress_testkit::{Queueing, Times};
///
/// // Two servers, 10 ms a call, four times the calls they can answer, and room for two more.
/// let service = Times::Exponential(Duration::from_millis(10));
/// let mut queueing = Queueing::new(7, 2, service).every(Duration::from_micros(1250)).limit(4);
/// let mut total = Duration::ZERO;
/// let tally = queueing.run(Duration::from_secs(100), |call| {
///     total += call.rtt;
///     4
/// });
/// let mean = total.div_f64(tally.answered as f64);
/// assert!(mean > Duration::from_millis(17) && mean < Duration::from_millis(20));
/// ```
///
/// # Time and chance
///
/// Time is virtual and starts at zero. The same seed gives the same calls, whatever is done with them.
///
/// [kendall]: https://en.wikipedia.org/wiki/Kendall%27s_notation
#[derive(Clone, Debug)]
pub struct Queueing {
    now: u64,
    random: Random,
    servers: u32,
    service: Times,
    gaps: Times,
    arrival: u64,
    limit: u32,
    waiting: VecDeque<Admitted>,
    /// By the time when they end.
    served: BinaryHeap<Reverse<(u64, Admitted)>>,
}

impl Queueing {
    /// So many servers, each of which takes so long for a call, and at first nobody who calls.
    pub fn new(seed: u64, servers: u32, service: Times) -> Self {
        Self {
            now: 0,
            random: Random::seeded(seed),
            servers,
            service,
            gaps: Times::Constant(Duration::MAX),
            arrival: u64::MAX,
            limit: u32::MAX,
            waiting: VecDeque::new(),
            served: BinaryHeap::new(),
        }
    }

    /// From now on calls arrive at random, one in so long a time on average; zero counts as a nanosecond.
    pub fn every(mut self, gap: Duration) -> Self {
        self.gaps = Times::Exponential(gap.max(Duration::from_nanos(1)));
        self.arrival = self.next_arrival();
        self
    }

    /// The limit to start with; without one, every call is admitted.
    pub const fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// From now on there are so many servers. Calls that are being served end as they would have.
    pub fn resize(&mut self, servers: u32) {
        self.servers = servers;
        self.serve();
    }

    /// The time since the start.
    pub const fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Lets so much time go by, shows each call when it is answered, and takes the limit from then on.
    pub fn run(&mut self, time: Duration, mut answered: impl FnMut(Answered) -> u32) -> Tally {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let end = self.now.saturating_add(nanos);
        let mut tally = Tally::default();
        loop {
            let ends = self.served.peek().map_or(u64::MAX, |Reverse((ends, _))| *ends);
            let next = ends.min(self.arrival);
            if next > end || next == u64::MAX {
                self.now = end;
                return tally;
            }
            self.now = next;
            if ends == next {
                if let Some(Reverse((_, call))) = self.served.pop() {
                    tally.answered += 1;
                    self.limit = answered(call.answered(next));
                }
                self.serve();
            } else {
                self.arrive(&mut tally);
            }
        }
    }

    fn arrive(&mut self, tally: &mut Tally) {
        self.arrival = self.next_arrival();
        let in_flight = self.in_flight().saturating_add(1);
        if in_flight > self.limit {
            tally.rejected += 1;
            return;
        }
        let service = self.service.draw(&mut self.random);
        self.waiting.push_back(Admitted { started: self.now, service, in_flight });
        self.serve();
    }

    fn serve(&mut self) {
        while u32::try_from(self.served.len()).is_ok_and(|busy| busy < self.servers) {
            let Some(call) = self.waiting.pop_front() else { return };
            self.served.push(Reverse((self.now.saturating_add(call.service), call)));
        }
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.served.len() + self.waiting.len()).unwrap_or(u32::MAX)
    }

    fn next_arrival(&mut self) -> u64 {
        self.now.saturating_add(self.gaps.draw(&mut self.random).max(1))
    }
}

/// A call that a [`Queueing`] service has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// When it was admitted, counted from the start.
    pub started: Duration,
    /// How long it waited and was served.
    pub rtt: Duration,
    /// How many calls were in flight when it was admitted, itself included.
    pub in_flight: u32,
}

/// What became of the calls of one [`Queueing::run`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were answered.
    pub answered: u64,
    /// How many were refused, for as many as the limit were in flight.
    pub rejected: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Admitted {
    started: u64,
    service: u64,
    in_flight: u32,
}

impl Admitted {
    const fn answered(self, now: u64) -> Answered {
        Answered {
            started: Duration::from_nanos(self.started),
            rtt: Duration::from_nanos(now.saturating_sub(self.started)),
            in_flight: self.in_flight,
        }
    }
}

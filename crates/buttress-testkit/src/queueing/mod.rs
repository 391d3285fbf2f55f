use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::seeded_random::SeededRandom;

mod times;

pub use self::times::Times;

/// A simulated service behind a limit. Calls arrive at random and wait for a server. They are
/// rejected if the calls in flight have reached the limit.
///
/// In [Kendall's notation][kendall] this is M/G/c/K. The limit is K, and the closure that sees each
/// answered call may change it. Several clients can call the service, each with a limit of its own:
/// [`Queueing::add_client`].
///
/// ```
/// use std::time::Duration;
/// use buttress_testkit::{Queueing, Times};
///
/// // Two servers, 10 ms a call, four times the calls they can answer, and room for two more.
/// let service = Times::Exponential(Duration::from_millis(10));
/// let mut queueing = Queueing::new(7, 2, service).every(Duration::from_micros(1250)).limit(4);
/// let mut total = Duration::ZERO;
/// let report = queueing.run(Duration::from_secs(100), |call| {
///     total += call.rtt;
///     4
/// });
/// let mean = total.div_f64(report.answered as f64);
/// assert!(mean > Duration::from_millis(17) && mean < Duration::from_millis(20));
/// ```
///
/// # Time and chance
///
/// Time is virtual and starts at zero. The same seed gives the same calls, whatever the closure
/// does.
///
/// [kendall]: https://en.wikipedia.org/wiki/Kendall%27s_notation
#[derive(Clone, Debug)]
pub struct Queueing {
    now: u64,
    random: SeededRandom,
    servers: u32,
    service: Times,
    clients: Vec<Client>,
    waiting: VecDeque<Admitted>,
    /// Ordered by the time of their end.
    served: BinaryHeap<Reverse<(u64, Admitted)>>,
}

impl Queueing {
    /// Creates a service with `servers` servers, each of which takes `service` per call. At first
    /// no client calls.
    pub fn new(seed: u64, servers: u32, service: Times) -> Self {
        Self {
            now: 0,
            random: SeededRandom::seeded(seed),
            servers,
            service,
            clients: vec![Client::SILENT],
            waiting: VecDeque::new(),
            served: BinaryHeap::new(),
        }
    }

    /// Sets the mean gap between two calls of the first client, as [`Queueing::call_every`] does.
    pub fn every(mut self, gap: Duration) -> Self {
        self.call_every(0, gap);
        self
    }

    /// Sets the initial limit of the first client. Default: every call is admitted.
    pub fn limit(mut self, limit: u32) -> Self {
        if let Some(first) = self.clients.first_mut() {
            first.limit = limit;
        }
        self
    }

    /// Adds a client that calls from now on, and returns its number: 1 for the second client.
    pub fn add_client(&mut self, gap: Duration, limit: u32) -> usize {
        let client = self.clients.len();
        self.clients.push(Client { limit, ..Client::SILENT });
        self.call_every(client, gap);
        client
    }

    /// Sets the mean gap between two calls of a client from now on. Zero counts as 1 ns.
    /// `Duration::MAX` silences the client.
    pub fn call_every(&mut self, client: usize, gap: Duration) {
        let Some(client) = self.clients.get_mut(client) else { return };
        client.gaps = match gap {
            Duration::MAX => Times::Constant(gap),
            gap => Times::Exponential(gap.max(Duration::from_nanos(1))),
        };
        client.arrival = client.next_arrival(self.now, &mut self.random);
    }

    /// Sets the service time of each call that is admitted from now on.
    pub const fn service_time(&mut self, service: Times) {
        self.service = service;
    }

    /// Sets the number of servers from now on. Calls that are being served end as planned.
    pub fn resize(&mut self, servers: u32) {
        self.servers = servers;
        self.serve();
    }

    /// Returns the time since the start.
    pub const fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Advances the time by `time`, and passes each answered call to the closure. The closure
    /// returns the new limit of the client that made the call.
    pub fn run(
        &mut self,
        time: Duration,
        mut answered: impl FnMut(Answered) -> u32,
    ) -> QueueingReport {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let end = self.now.saturating_add(nanos);
        let mut report = QueueingReport::default();
        loop {
            let ends = self.served.peek().map_or(u64::MAX, |Reverse((ends, _))| *ends);
            let arrival = self.clients.iter().map(|client| client.arrival).min();
            let next = ends.min(arrival.unwrap_or(u64::MAX));
            if next > end || next == u64::MAX {
                self.now = end;
                return report;
            }
            self.now = next;
            if ends == next {
                if let Some(Reverse((_, call))) = self.served.pop() {
                    report.answered += 1;
                    self.leave(call.client, answered(call.answered(next)));
                }
                self.serve();
            } else {
                self.arrive(&mut report);
            }
        }
    }

    fn arrive(&mut self, report: &mut QueueingReport) {
        let first = self.clients.iter_mut().enumerate().min_by_key(|(_, client)| client.arrival);
        let Some((number, client)) = first else { return };
        client.arrival = client.next_arrival(self.now, &mut self.random);
        let in_flight = client.in_flight.saturating_add(1);
        if in_flight > client.limit {
            report.rejected += 1;
            return;
        }
        client.in_flight = in_flight;
        let service = self.service.draw(&mut self.random);
        self.waiting.push_back(Admitted { started: self.now, service, in_flight, client: number });
        self.serve();
    }

    fn leave(&mut self, client: usize, limit: u32) {
        if let Some(client) = self.clients.get_mut(client) {
            client.in_flight = client.in_flight.saturating_sub(1);
            client.limit = limit;
        }
    }

    fn serve(&mut self) {
        while u32::try_from(self.served.len()).is_ok_and(|busy| busy < self.servers) {
            let Some(call) = self.waiting.pop_front() else { return };
            self.served.push(Reverse((self.now.saturating_add(call.service), call)));
        }
    }
}

/// A call that a [`Queueing`] service has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// The time of its admission since the start.
    pub started: Duration,
    /// The time from its admission to its answer.
    pub rtt: Duration,
    /// The calls of its client in flight at its admission, itself included.
    pub in_flight: u32,
    /// The number of its client: 0 for the first.
    pub client: usize,
}

/// The calls of one [`Queueing::run`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueingReport {
    /// The number of answered calls.
    pub answered: u64,
    /// The number of rejected calls, because the limit of their client was reached.
    pub rejected: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Admitted {
    started: u64,
    service: u64,
    in_flight: u32,
    client: usize,
}

impl Admitted {
    const fn answered(self, now: u64) -> Answered {
        Answered {
            started: Duration::from_nanos(self.started),
            rtt: Duration::from_nanos(now.saturating_sub(self.started)),
            in_flight: self.in_flight,
            client: self.client,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Client {
    gaps: Times,
    arrival: u64,
    limit: u32,
    in_flight: u32,
}

impl Client {
    const SILENT: Self = Self {
        gaps: Times::Constant(Duration::MAX),
        arrival: u64::MAX,
        limit: u32::MAX,
        in_flight: 0,
    };

    fn next_arrival(&self, now: u64, random: &mut SeededRandom) -> u64 {
        now.saturating_add(self.gaps.draw(random).max(1))
    }
}

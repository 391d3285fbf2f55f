//! Replicas of the lease law over a model of the store, in simulated time.

pub(crate) mod replica;
pub(crate) mod store;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use buttress_control::{LeaseRules, Nanos, Random, Rate};

use self::replica::Replica;
use self::store::Store;

pub(crate) const MILLI: u64 = 1_000_000;

/// What happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A call of this cost arrives at a replica.
    Call { replica: usize, cost: u32 },
    /// The request of a replica reaches the store.
    Arrive { replica: usize, number: u64 },
    /// The reply reaches the replica.
    Reply { replica: usize, number: u64 },
    /// The time limit of a request ends.
    TimeLimit { replica: usize, number: u64 },
    /// A replica looks at its line again.
    Look { replica: usize },
    /// A replica ends, and another takes its place.
    Crash { replica: usize },
    /// The store is reached by no replica, or by all again.
    Reachable(bool),
    /// The store loses all state.
    Flush,
    /// The clock of the store steps, in milliseconds.
    Step(i64),
}

/// How the network behaves. Probabilities of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) slowest: u64,
    pub(crate) lost_requests: f64,
    pub(crate) lost_replies: f64,
}

/// Cells that were spent: when, how many, and whether the share of a replica gave them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) at: u64,
    pub(crate) cells: u32,
    pub(crate) is_share: bool,
}

pub(crate) struct Fleet {
    pub(crate) rules: LeaseRules,
    pub(crate) store: Store,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) spent: Vec<Spent>,
    /// The cells that each replica admitted.
    pub(crate) admitted: Vec<u64>,
    pub(crate) trips: u64,
    pub(crate) denied: u64,
    pub(crate) is_reachable: bool,
    /// Whether a replica admits its share while the store is away.
    pub(crate) shares: bool,
    /// Whether the store grants by the burst of the rate, as if no replica held cells.
    pub(crate) grants_whole_burst: bool,
    network: Network,
    random: Random,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
}

impl Fleet {
    pub(crate) fn new(rules: LeaseRules, replicas: usize, network: Network, seed: u64) -> Self {
        Self {
            store: Store::new(&rules),
            replicas: (0..replicas).map(|_| Replica::default()).collect(),
            spent: Vec::new(),
            admitted: vec![0; replicas],
            trips: 0,
            denied: 0,
            is_reachable: true,
            shares: false,
            grants_whole_burst: false,
            random: Random::seeded(seed),
            events: BinaryHeap::new(),
            sequence: 0,
            rules,
            network,
        }
    }

    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((time, self.sequence, event)));
    }

    /// Offers calls at a steady rate, spread evenly over the replicas.
    pub(crate) fn offer(&mut self, from: u64, to: u64, per_second: u64) {
        let interval = 1_000_000_000 / per_second;
        let count = self.replicas.len();
        for (index, time) in (from..to).step_by(usize::try_from(interval).unwrap()).enumerate() {
            self.at(time, Event::Call { replica: index % count, cost: 1 });
        }
    }

    pub(crate) fn run(&mut self) {
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            self.happen(time, event);
        }
    }

    fn happen(&mut self, time: u64, event: Event) {
        match event {
            Event::Call { replica, cost } => self.call(time, replica, cost),
            Event::Arrive { replica, number } => self.arrive(time, replica, number),
            Event::Reply { replica, number } => self.reply(time, replica, number),
            Event::TimeLimit { replica, number } => self.time_limit(time, replica, number),
            Event::Look { replica } => self.ask(time, replica),
            Event::Crash { replica } => self.replicas[replica] = Replica::default(),
            Event::Reachable(is_reachable) => self.is_reachable = is_reachable,
            Event::Flush => self.store.flush(),
            Event::Step(millis) => self.store.step(millis),
        }
    }

    fn call(&mut self, time: u64, replica: usize, cost: u32) {
        let now = Nanos::new(time);
        if self.replicas[replica].take(time, cost) {
            self.admit(time, replica, cost);
            if self.replicas[replica].is_low(now, &self.rules) {
                self.ask(time, replica);
            }
            return;
        }
        if self.replicas[replica].lease.is_away() {
            self.without_store(time, replica, cost);
            self.ask(time, replica);
        } else if self.replicas[replica].lease.denied(now, &self.rules, cost).is_some() {
            self.denied += 1;
        } else {
            self.replicas[replica].waiting.push_back(cost);
            self.ask(time, replica);
        }
    }

    fn admit(&mut self, time: u64, replica: usize, cells: u32) {
        self.replicas[replica].lease.spend(Nanos::new(time), &self.rules, cells);
        self.admitted[replica] += u64::from(cells);
        self.spent.push(Spent { at: time, cells, is_share: false });
    }

    fn without_store(&mut self, time: u64, replica: usize, cost: u32) {
        let shares = self.shares;
        let rules = &self.rules;
        if shares && self.replicas[replica].take_share(Nanos::new(time), rules, cost) {
            self.spent.push(Spent { at: time, cells: cost, is_share: true });
        } else {
            self.denied += 1;
        }
    }

    fn ask(&mut self, time: u64, index: usize) {
        let Some(number) = self.replicas[index].ask(Nanos::new(time), &self.rules) else { return };
        self.trips += 1;
        let limit = u64::try_from(self.rules.reply_time().as_nanos()).unwrap();
        if self.random.draw() >= self.network.lost_requests {
            let delay = self.delay();
            self.at(time + delay, Event::Arrive { replica: index, number });
        }
        self.at(time + limit, Event::TimeLimit { replica: index, number });
    }

    fn arrive(&mut self, time: u64, index: usize, number: u64) {
        // A request that has left its replica runs even if the replica gave it up or ended.
        let Some(mut request) = self.replicas[index].sent(number) else { return };
        if self.grants_whole_burst {
            for (rate, leased) in request.rates.iter_mut().zip(self.rules.rates()) {
                rate.1 = leased.rate().burst_size();
            }
        }
        if !self.is_reachable {
            return;
        }
        let reply = self.store.acquire(time, &request);
        self.replicas[index].replies.push((number, reply));
        if self.random.draw() >= self.network.lost_replies {
            let delay = self.delay();
            self.at(time + delay, Event::Reply { replica: index, number });
        }
    }

    fn reply(&mut self, time: u64, index: usize, number: u64) {
        let Some(served) = self.replicas[index].reply(Nanos::new(time), &self.rules, number) else {
            return;
        };
        for cells in served {
            self.admit(time, index, cells);
        }
        // Without a queue, calls that a short grant leaves over are denied.
        if self.replicas[index].lease.denied(Nanos::new(time), &self.rules, 1).is_some() {
            self.denied += self.replicas[index].waiting.drain(..).count() as u64;
        }
        self.at(time, Event::Look { replica: index });
    }

    fn time_limit(&mut self, time: u64, index: usize, number: u64) {
        if self.replicas[index].give_up(Nanos::new(time), number) {
            let waiting: Vec<_> = self.replicas[index].waiting.drain(..).collect();
            for cost in waiting {
                self.without_store(time, index, cost);
            }
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a delay needs no exactness"
    )]
    fn delay(&self) -> u64 {
        (self.random.draw() * self.network.slowest as f64) as u64
    }

    pub(crate) fn cells(&self, from: u64, to: u64) -> u64 {
        let spent = self.spent.iter().filter(|spent| (from..to).contains(&spent.at));
        spent.map(|spent| u64::from(spent.cells)).sum()
    }

    /// The most cells above `rate · t + burst` in any time, over the spent cells that `counts` picks.
    pub(crate) fn over(&self, rate: Rate, counts: impl Fn(&Spent) -> bool) -> u64 {
        let interval = u64::try_from(rate.interval().as_nanos()).unwrap();
        let burst = interval * u64::from(rate.burst_size());
        let (mut tat, mut over) = (0, 0);
        let mut spent: Vec<_> = self.spent.iter().filter(|spent| counts(spent)).collect();
        spent.sort_by_key(|spent| spent.at);
        for Spent { at, cells, .. } in spent {
            tat = (*at).max(tat) + interval * u64::from(*cells);
            over = over.max((tat - at).saturating_sub(burst));
        }
        over.div_ceil(interval)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

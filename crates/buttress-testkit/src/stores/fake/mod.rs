mod clock;
mod flights;
mod network;
mod quotas;
mod serve;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buttress_state::{QuotaStore, StoreError};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use self::clock::StoreClock;
use self::flights::Flights;
use self::network::{Fault, Network, Route};
use self::quotas::Quotas;

pub use self::network::Outage;

/// A store of quotas and of flights in this process, on tokio's clock: for tests of layers that share
/// state between processes.
///
/// Clones share the store, so each clone stands for a process. Without a setting, the store replies
/// at once.
///
/// ```
/// use std::time::Duration;
/// use buttress_state::{Ask, CellRate, QuotaStore, StoreErrorKind};
/// use buttress_testkit::{FakeStore, Outage};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let store = FakeStore::new();
/// let rates = [CellRate::new(Duration::from_millis(10), 5)];
/// assert_eq!(store.acquire(Ask::new(b"key", &rates, 3)).await.unwrap().granted, 3);
///
/// store.begin_outage(Outage::Silent);
/// let error = store.acquire(Ask::new(b"key", &rates, 1)).await.unwrap_err();
/// assert_eq!(error.kind(), StoreErrorKind::Timeout);
/// # }
/// ```
///
/// # Time
///
/// A request arrives after half of the [delay](Self::set_delay), and its reply after the other half. If
/// the caller leaves before the request arrives, nothing happens in the store. The time of the store
/// is tokio's, with the steps of [`step_clock_forward`](Self::step_clock_forward) and
/// [`step_clock_back`](Self::step_clock_back).
#[derive(Clone)]
pub struct FakeStore(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Wakes all that wait for a change of a slot.
    changes: Arc<Notify>,
}

struct State {
    clock: StoreClock,
    network: Network,
    quotas: Quotas,
    flights: Flights,
    lease: Duration,
    asks: Vec<FakeAsk>,
}

/// A request for cells that arrived at a [`FakeStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakeAsk {
    /// The time of arrival, on tokio's clock.
    pub at: Instant,
    /// The bytes of the key.
    pub key: Box<[u8]>,
    /// The most cells to take.
    pub want: u32,
    /// The fewest cells to take.
    pub min: u32,
    /// The cells that were spent without the store.
    pub debt: u64,
    /// For each rate, whether the caller expected its bucket.
    pub expect: Box<[bool]>,
    /// The cells that were granted.
    pub granted: u32,
}

impl FakeStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        let state = State {
            clock: StoreClock::new(),
            network: Network::new(),
            quotas: Quotas::default(),
            flights: Flights::default(),
            lease: Duration::from_secs(3),
            asks: Vec::new(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changes: Arc::default() }))
    }

    /// Sets the time from a request to its reply. Default: 0.
    pub fn set_delay(&self, delay: Duration) {
        self.state().network.delay = delay;
    }

    /// Sets the time within which an operation ends. Default: 25 ms.
    pub fn set_time_limit(&self, limit: Duration) {
        self.state().network.time_limit = limit;
    }

    /// Sets the time for which a lock holds. Default: 3 s.
    pub fn set_lease(&self, lease: Duration) {
        self.state().lease = lease;
    }

    /// Takes the store out of reach, from the next operation on.
    pub fn begin_outage(&self, outage: Outage) {
        let mut state = self.state();
        state.network.outage = Some(outage);
        state.network.numbers.is_connected = outage != Outage::Refused;
    }

    /// Ends an outage.
    pub fn end_outage(&self) {
        let mut state = self.state();
        state.network.outage = None;
        state.network.numbers.is_connected = true;
    }

    /// Loses the next request, after those that have a plan already. Its operation times out.
    pub fn lose_request(&self) {
        self.state().network.planned.push_back(Fault::LostRequest);
    }

    /// Loses the reply to the next request, after those that have a plan already. The request runs,
    /// and its operation times out.
    pub fn lose_reply(&self) {
        self.state().network.planned.push_back(Fault::LostReply);
    }

    /// Lets the next request fail, after those that have a plan already. The request does not run.
    pub fn fail(&self, error: impl Into<StoreError>) {
        self.state().network.planned.push_back(Fault::Fails(error.into()));
    }

    /// Lets the clock of the store step forward.
    pub fn step_clock_forward(&self, by: Duration) {
        self.state().clock.step_forward(by);
    }

    /// Lets the clock of the store step back.
    pub fn step_clock_back(&self, by: Duration) {
        self.state().clock.step_back(by);
    }

    /// Loses all buckets, values and locks.
    pub fn lose_state(&self) {
        let mut state = self.state();
        state.quotas.clear();
        state.flights.clear();
    }

    /// Returns the requests for cells that arrived, in order.
    pub fn asks(&self) -> Vec<FakeAsk> {
        self.state().asks.clone()
    }

    /// Returns the number of buckets that are not full.
    pub fn buckets(&self) -> usize {
        let state = self.state();
        state.quotas.len(state.clock.now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation that wakes those who wait for a change.
    async fn changing<T>(&self, operation: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        self.run(operation, || self.0.changes.notify_waiters()).await
    }

    /// Runs an operation when its request arrives, and returns when its reply does.
    async fn run<T>(
        &self,
        operation: impl FnOnce(&mut State) -> T,
        then: impl FnOnce(),
    ) -> Result<T, StoreError> {
        let route = self.state().network.route();
        let outcome = match route {
            Route::Fails(after, error) => {
                wait(after).await;
                Err(error)
            }
            Route::Arrives(there, back, end) => {
                wait(there).await;
                let value = operation(&mut self.state());
                then();
                wait(back).await;
                end.map(|()| value)
            }
        };
        outcome.inspect_err(|error| self.state().network.count(error))
    }
}

impl Default for FakeStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FakeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeStore").field(&QuotaStore::snapshot(self)).finish()
    }
}

/// Waits only if there is something to wait for: a timer would end a millisecond later.
async fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

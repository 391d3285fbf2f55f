use std::{future::Future, sync::Arc, time::Duration};

use buttress_state::{
    Ask, Begun, Ending, Finished, FlightStore, Grant, QuotaStore, Slot, StoreError, StoreSnapshot,
    Token,
};
use tokio::time::{Instant, timeout_at};

use super::{FakeAsk, FakeStore, State};

impl QuotaStore for FakeStore {
    async fn acquire(&self, ask: Ask<'_>) -> Result<Grant, StoreError> {
        let acquire = |state: &mut State| {
            let grant = state.quotas.acquire(state.clock.now(), ask);
            state.asks.push(FakeAsk {
                at: Instant::now(),
                key: ask.key.into(),
                want: ask.want,
                min: ask.min,
                debt: ask.debt,
                expect: ask.rates.iter().map(|rate| rate.expect).collect(),
                granted: grant.granted,
            });
            grant
        };
        self.run(acquire, || {}).await
    }

    fn snapshot(&self) -> StoreSnapshot {
        self.state().network.numbers
    }

    fn time_limit(&self) -> Duration {
        self.state().network.time_limit
    }
}

impl FlightStore for FakeStore {
    async fn begin(
        &self,
        slot: Slot<'_>,
        newer_than: Option<[u8; 16]>,
    ) -> Result<Begun, StoreError> {
        let operation = |state: &mut State| {
            let (now, lease) = (state.clock.now(), state.lease);
            state.flights.begin(now, slot, newer_than, lease)
        };
        self.run(operation, || {}).await
    }

    async fn renew(&self, slot: Slot<'_>, token: &Token) -> Result<bool, StoreError> {
        let operation = |state: &mut State| {
            let (now, lease) = (state.clock.now(), state.lease);
            state.flights.renew(now, slot, *token, lease)
        };
        self.run(operation, || {}).await
    }

    async fn finish(
        &self,
        slot: Slot<'_>,
        token: &Token,
        ending: Ending,
    ) -> Result<Finished, StoreError> {
        let finish = |state: &mut State| {
            let now = state.clock.now();
            state.flights.finish(now, slot, *token, ending)
        };
        self.changing(finish).await
    }

    async fn invalidate(&self, group: &[u8]) -> Result<(), StoreError> {
        self.changing(|state| state.flights.invalidate(group)).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.changing(|state| state.flights.clear()).await
    }

    fn changed(&self, _: Slot<'_>, until: Instant) -> impl Future<Output = ()> + Send {
        // Created here and not at the first poll, so that a change in between counts.
        let change = Arc::clone(&self.0.changes).notified_owned();
        async move { timeout_at(until, change).await.unwrap_or(()) }
    }
}

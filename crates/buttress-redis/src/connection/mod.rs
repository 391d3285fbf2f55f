//! The way to the store: connections, time limits, circuits.

mod circuits;
mod common;
mod counters;
mod failure;
mod hints;
mod link;
mod nodes;
mod operation;
mod script;
mod tasks;
mod trips;

use std::{fmt, sync::Arc, time::Duration};

use buttress_state::StoreSnapshot;
use redis::Client;

use self::{circuits::Circuits, common::Common, nodes::Nodes};
pub(crate) use self::{
    failure::Failure,
    operation::Operation,
    script::LuaScript,
    tasks::{Claim, IsRunning},
    trips::Trips,
};
use crate::names::Names;

/// A handle of the connections. With the last handle the connections and their tasks end.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Owner>);

struct Owner(Arc<Trips>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.common.tasks.end();
        self.0.nodes.close();
    }
}

impl Connection {
    pub(crate) fn one(client: Client, names: &Names) -> Self {
        Self::new(Nodes::one(client), Circuits::one(), names)
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn cluster(seeds: Vec<Client>, names: &Names) -> Self {
        Self::new(Nodes::cluster(seeds), Circuits::by_slot(), names)
    }

    fn new(nodes: Nodes, circuits: Circuits, names: &Names) -> Self {
        let channels = (0..CHANNELS).map(|number| names.channel(number)).collect();
        let trips = Trips::new(nodes, circuits, Common::new(channels), names.clone());
        Self(Arc::new(Owner(Arc::new(trips))))
    }

    /// Dials, if there is a runtime. Otherwise the first operation does.
    pub(crate) fn start(&self, limit: Duration) {
        let trips = self.trips();
        trips.common.expect_limit(limit);
        trips.nodes.start(&trips.common);
    }

    pub(crate) fn trips(&self) -> &Arc<Trips> {
        &self.0.0
    }

    pub(crate) async fn connected(&self) {
        self.trips().connected().await;
    }

    pub(crate) fn snapshot(&self) -> StoreSnapshot {
        self.trips().snapshot()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trips = self.trips();
        f.debug_tuple("Connection").field(&trips.nodes).field(&trips.snapshot()).finish()
    }
}

/// The number of channels on which the changes of slots are announced.
pub(crate) const CHANNELS: usize = 64;

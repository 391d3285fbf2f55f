use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_state::{StoreErrorKind, StoreSnapshot, sync::lock};
use futures_util::future::select;
use redis::Value;
use tokio::time::{Instant, sleep};

use super::{
    circuits::Circuits,
    common::Common,
    failure::Failure,
    hints::Hints,
    link::within,
    nodes::{Nodes, slot_of},
    operation::Operation,
    tasks::{Claim, Tasks},
};
use crate::names::Names;

/// Round trips to the store.
#[derive(Debug)]
pub(crate) struct Trips {
    pub(super) nodes: Nodes,
    pub(super) common: Arc<Common>,
    circuits: Circuits,
    names: Names,
    /// When the last refusal of the store was reported.
    refusal: Mutex<Option<Instant>>,
}

impl Trips {
    pub(super) fn new(nodes: Nodes, circuits: Circuits, common: Common, names: Names) -> Self {
        Self { nodes, common: Arc::new(common), circuits, names, refusal: Mutex::default() }
    }

    /// Sends `operation`, and reads its reply. `None` from `read`: the reply makes no sense.
    ///
    /// The operation is sent again only if the store said that it did not run.
    pub(crate) async fn run<T>(
        self: &Arc<Self>,
        operation: Operation<'_>,
        deadline: Instant,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, Failure> {
        self.common.counters.began();
        let reply = self.guarded(&operation, deadline).await;
        let reply = reply.and_then(|value| {
            read(value).ok_or_else(|| {
                self.nodes.distrust(operation.slot);
                Failure::Corrupt
            })
        });
        if let Err(failure) = &reply {
            self.common.counters.failed(failure);
            self.report(failure);
        }
        reply
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.common.tasks
    }

    pub(crate) fn hints(&self) -> &Arc<Hints> {
        &self.common.hints
    }

    /// Returns the instant at which an operation that begins now ends. `limit` is at most an hour.
    pub(crate) fn deadline(&self, limit: Duration) -> Instant {
        self.common.expect_limit(limit);
        Instant::now() + limit
    }

    /// Waits for `most`, or until a connection is established.
    pub(crate) async fn connected_within(&self, most: Duration) {
        select(pin!(self.common.connected.notified()), pin!(sleep(most))).await;
    }

    /// Waits until a connection is established.
    pub(super) async fn connected(&self) {
        loop {
            let mut connected = pin!(self.common.connected.notified());
            // Before the look, so that a connection in between is not missed.
            connected.as_mut().enable();
            if self.nodes.is_connected() {
                return;
            }
            self.nodes.start(&self.common);
            connected.await;
        }
    }

    pub(super) fn snapshot(&self) -> StoreSnapshot {
        let mut snapshot = self.common.counters.snapshot();
        snapshot.is_connected = self.nodes.is_connected();
        snapshot.open_circuits = self.circuits.open_now();
        snapshot
    }

    async fn guarded(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let part = self.circuits.part_of(operation.slot);
        if self.circuits.is_open(part) {
            return Err(Failure::NotConnected);
        }
        if !self.common.has_dialled() {
            self.nodes.start(&self.common);
            // Of a process that starts. If the dial takes longer, the trip fails at once.
            let first_dial = async {
                self.common.first_dial().await;
                Ok(())
            };
            drop(within(deadline, first_dial).await);
        }
        let reply = self.trip(operation, deadline).await;
        match &reply {
            Err(Failure::NotConnected) => self.nodes.suspect(),
            Err(failure) if failure.is_away() => {
                self.nodes.suspect();
                self.open(part);
            }
            _ => {}
        }
        reply
    }

    async fn trip(&self, operation: &Operation<'_>, deadline: Instant) -> Result<Value, Failure> {
        let command = &operation.command;
        let mut link = self.nodes.link(operation.slot, &self.common)?;
        let mut is_asked = false;
        let mut reply = link.send(command, deadline).await;
        // Each of these errors proves that nothing ran.
        let redirected = reply.as_ref().err();
        if let Some((failure, to)) = redirected
            .and_then(|failure| Some((failure, self.nodes.redirected(failure, &self.common)?)))
        {
            is_asked = failure.has_code("ASK");
            link = to?;
            reply = if is_asked {
                link.ask(command, deadline).await
            } else {
                link.send(command, deadline).await
            };
        }
        match (operation.script, reply) {
            (Some(script), Err(failure)) if failure.has_code("NOSCRIPT") => {
                link.send(&script.load(), deadline).await?;
                if is_asked {
                    link.ask(command, deadline).await
                } else {
                    link.send(command, deadline).await
                }
            }
            (_, reply) => reply,
        }
    }

    /// Opens a circuit. Its probes have the longest time limit, so that they succeed where any
    /// operation would.
    fn open(self: &Arc<Self>, part: usize) {
        if let Some(claim) = self.circuits.open(part) {
            tracing::debug!(name: "redis.circuit_opened", target: "buttress", part);
            let trips = Arc::clone(self);
            self.common.tasks.spawn(async move { trips.probe(part, claim).await });
        }
    }

    /// Probes a part of the store until the store replies. Then the circuit closes.
    async fn probe(&self, part: usize, claim: Claim) {
        let name = self.name_in(part);
        loop {
            let mut connected = pin!(self.common.connected.notified());
            // Counts from here: a connection that is established during the probe is not missed.
            connected.as_mut().enable();
            let deadline = Instant::now() + self.common.limit();
            match self.trip(&Operation::probe(&name), deadline).await {
                Err(failure) if failure.is_away() => self.nodes.suspect(),
                _ => break,
            }
            select(connected, pin!(sleep(PROBE_EVERY))).await;
        }
        drop(claim);
        tracing::debug!(name: "redis.circuit_closed", target: "buttress", part);
    }

    /// Returns a name that a part of the store holds.
    fn name_in(&self, part: usize) -> String {
        let mut names =
            (0_u32..).map(|number| self.names.name(format_args!("probe{number}"), 'p').to_string());
        let name = names.find(|name| self.circuits.part_of(slot_of(name)) == part);
        name.unwrap_or_default()
    }

    fn report(&self, failure: &Failure) {
        let is_refusal =
            matches!(failure.kind(), StoreErrorKind::Rejected | StoreErrorKind::Corrupt);
        if !is_refusal {
            return;
        }
        let now = Instant::now();
        {
            let mut last = lock(&self.refusal);
            if last.is_some_and(|last| now.duration_since(last) < REPORT_EVERY) {
                return;
            }
            *last = Some(now);
        }
        tracing::warn!(name: "redis.rejected", target: "buttress", error = %failure);
    }
}

const PROBE_EVERY: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(1);

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::Duration,
};

use buttress_state::sync::lock;
use redis::{Client, ConnectionAddr};
use tokio::time::{Instant, sleep};

use super::slot_table::SlotTable;
use crate::connection::{
    common::Common,
    failure::Failure,
    link::{Link, keep_connected},
    tasks::{Claim, IsRunning},
};

/// The servers of a cluster, of which each holds a part of the hash slots.
#[derive(Debug)]
pub(in crate::connection) struct Cluster {
    seeds: Vec<Client>,
    links: Mutex<HashMap<(String, u16), Arc<Link>>>,
    table: Mutex<Arc<SlotTable>>,
    is_stale: AtomicBool,
    is_refreshing: IsRunning,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Client>) -> Self {
        Self {
            seeds,
            links: Mutex::default(),
            table: Mutex::default(),
            is_stale: AtomicBool::new(true),
            is_refreshing: IsRunning::default(),
        }
    }

    /// Starts the task that reads the slot table, if the table is stale.
    pub(super) fn start(self: &Arc<Self>, common: &Arc<Common>) {
        if !self.is_stale.load(Acquire) || self.is_refreshing.get() {
            return;
        }
        if let Some(claim) = self.is_refreshing.claim() {
            let (cluster, in_task) = (Arc::clone(self), Arc::clone(common));
            common.tasks.spawn(async move { cluster.refresh(&in_task, claim).await });
        }
    }

    pub(super) fn suspect(&self) {
        self.is_stale.store(true, Release);
    }

    pub(super) fn link(&self, slot: u16, common: &Arc<Common>) -> Result<Arc<Link>, Failure> {
        let table = Arc::clone(&lock(&self.table));
        let (host, port) = table.primary(slot).ok_or(Failure::NotConnected)?;
        self.link_to(host, port, common)
    }

    /// Returns the link that a `MOVED` or an `ASK` names.
    pub(super) fn redirected(
        &self,
        failure: &Failure,
        common: &Arc<Common>,
    ) -> Option<Result<Arc<Link>, Failure>> {
        let target = failure.redirection()?;
        self.suspect();
        let (host, port) = target.rsplit_once(':')?;
        let port = port.parse().ok().filter(|_| !host.is_empty())?;
        if self.has_room_for(host, port) {
            Some(self.link_to(host, port, common))
        } else {
            Some(Err(Failure::NotConnected))
        }
    }

    /// Whether a redirection may name this server. A hostile server could name any number of them.
    fn has_room_for(&self, host: &str, port: u16) -> bool {
        let table = Arc::clone(&lock(&self.table));
        let links = lock(&self.links);
        links.len() < MOST_STRANGERS
            || links.len() < MOST_STRANGERS + table.nodes()
            || links.contains_key(&(host.to_owned(), port))
    }

    pub(super) fn distrust(&self, slot: u16) {
        let table = Arc::clone(&lock(&self.table));
        let Some((host, port)) = table.primary(slot) else { return };
        let link = lock(&self.links).get(&(host.to_owned(), port)).cloned();
        if let Some(link) = link {
            link.distrust();
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        let links: Vec<_> = lock(&self.links).values().cloned().collect();
        links.iter().any(|link| link.is_connected())
    }

    pub(super) fn close(&self) {
        let links: Vec<_> = lock(&self.links).drain().map(|(_, link)| link).collect();
        for link in links {
            link.close();
        }
    }

    async fn refresh(self: &Arc<Self>, common: &Arc<Common>, claim: Claim) {
        while self.is_stale.swap(false, AcqRel) {
            if !self.read_table(common).await {
                self.suspect();
            }
            // At most one reading in this time, however many operations fail.
            sleep(PAUSE).await;
        }
        drop(claim);
        self.start(common);
    }

    /// Asks the servers in turn, until one replies.
    async fn read_table(&self, common: &Arc<Common>) -> bool {
        for link in self.askable(common) {
            let deadline = Instant::now() + common.limit();
            let mut command = redis::cmd("CLUSTER");
            command.arg("SLOTS");
            let reply = link.send(&command, deadline).await;
            let asked = link.host().0;
            if let Some(table) = reply.ok().and_then(|reply| SlotTable::read(&reply, &asked)) {
                self.install(table, common);
                return true;
            }
        }
        false
    }

    /// Returns the links that are connected. Without any, the seeds are dialled.
    fn askable(&self, common: &Arc<Common>) -> Vec<Arc<Link>> {
        let links: Vec<_> = lock(&self.links).values().cloned().collect();
        let connected: Vec<_> = links.into_iter().filter(|link| link.is_connected()).collect();
        if connected.is_empty() {
            for seed in &self.seeds {
                let (host, port) = Link::new(seed.clone()).host();
                // The next reading asks them.
                drop(self.link_to(&host, port, common));
            }
        }
        connected
    }

    fn install(&self, table: SlotTable, common: &Arc<Common>) {
        let keeps = |host: &str, port: u16| {
            table.primaries().any(|(kept_host, kept_port)| (kept_host, kept_port) == (host, port))
        };
        let retired: Vec<_> = {
            let mut links = lock(&self.links);
            links.extract_if(|(host, port), _| !keeps(host, *port)).map(|(_, link)| link).collect()
        };
        for link in retired {
            link.retire();
        }
        for (host, port) in table.primaries() {
            drop(self.link_to(host, port, common));
        }
        *lock(&self.table) = Arc::new(table);
    }

    fn link_to(&self, host: &str, port: u16, common: &Arc<Common>) -> Result<Arc<Link>, Failure> {
        let known = lock(&self.links).get(&(host.to_owned(), port)).cloned();
        let link = if let Some(link) = known {
            link
        } else {
            let new = Arc::new(Link::new(self.client(host, port)?));
            let mut links = lock(&self.links);
            Arc::clone(links.entry((host.to_owned(), port)).or_insert(new))
        };
        keep_connected(&link, common);
        Ok(link)
    }

    /// Returns a client with the settings of the first seed.
    fn client(&self, host: &str, port: u16) -> Result<Client, Failure> {
        let first = self.seeds.first().ok_or(Failure::NotConnected)?;
        let info = first.get_connection_info().clone();
        let addr = match info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        };
        Client::open(info.set_addr(addr)).map_err(|_| Failure::NotConnected)
    }
}

const PAUSE: Duration = Duration::from_millis(100);
/// Servers that only redirections name, until the next table is read.
const MOST_STRANGERS: usize = 64;

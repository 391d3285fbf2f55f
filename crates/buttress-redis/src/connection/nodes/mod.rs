//! Which server holds which hash slot.

#[cfg(feature = "cluster")]
mod cluster;
mod slot;
#[cfg(feature = "cluster")]
mod slot_table;

use std::sync::Arc;

use redis::Client;

#[cfg(feature = "cluster")]
use self::cluster::Cluster;
pub(super) use self::slot::SLOTS;
pub(crate) use self::slot::slot_of;
use super::{
    common::Common,
    failure::Failure,
    link::{Link, keep_connected},
};

/// The servers of a store.
#[derive(Debug)]
pub(super) enum Nodes {
    One(Arc<Link>),
    #[cfg(feature = "cluster")]
    Cluster(Arc<Cluster>),
}

impl Nodes {
    pub(super) fn one(client: Client) -> Self {
        Self::One(Arc::new(Link::new(client)))
    }

    #[cfg(feature = "cluster")]
    pub(super) fn cluster(seeds: Vec<Client>) -> Self {
        Self::Cluster(Arc::new(Cluster::new(seeds)))
    }

    /// Starts what keeps the store connected, unless it runs.
    pub(super) fn start(&self, common: &Arc<Common>) {
        match self {
            Self::One(link) => keep_connected(link, common),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.start(common),
        }
    }

    /// Returns the link to the server that holds `slot`.
    #[cfg_attr(
        not(feature = "cluster"),
        expect(clippy::unnecessary_wraps, reason = "a slot of a cluster may have no server")
    )]
    pub(super) fn link(&self, slot: u16, common: &Arc<Common>) -> Result<Arc<Link>, Failure> {
        let _ = slot;
        self.start(common);
        match self {
            Self::One(link) => Ok(Arc::clone(link)),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.link(slot, common),
        }
    }

    /// Returns the link that a redirection names. `None`: there are no redirections here.
    pub(super) fn redirected(
        &self,
        failure: &Failure,
        common: &Arc<Common>,
    ) -> Option<Result<Arc<Link>, Failure>> {
        let _ = (failure, common);
        match self {
            Self::One(_) => None,
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.redirected(failure, common),
        }
    }

    /// Notes that the server of a slot may have changed.
    pub(super) fn suspect(&self) {
        match self {
            Self::One(_) => {}
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.suspect(),
        }
    }

    /// Replaces the connection to the server of `slot`: replies may no longer belong to their requests.
    pub(super) fn distrust(&self, slot: u16) {
        let _ = slot;
        match self {
            Self::One(link) => link.distrust(),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.distrust(slot),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::One(link) => link.is_connected(),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.is_connected(),
        }
    }

    pub(super) fn close(&self) {
        match self {
            Self::One(link) => link.close(),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use buttress::{Cache, DedupHandle, DedupLayer, Redis, Rejection, SharedCache, layer_api::Json};
use tokio::{sync::Semaphore, task::JoinSet};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::support::{PATIENT, eventually};

/// The service behind all replicas.
#[derive(Clone)]
pub(crate) struct Origin {
    runs: Arc<AtomicU32>,
    permits: Arc<Semaphore>,
}

impl Origin {
    /// A service that holds its responses until [`respond`](Self::respond).
    pub(crate) fn held() -> Self {
        Self { runs: Arc::default(), permits: Arc::new(Semaphore::new(0)) }
    }

    /// Lets these responses pass.
    pub(crate) fn respond(&self, responses: usize) {
        self.permits.add_permits(responses);
    }

    /// Returns the number of calls so far.
    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(SeqCst)
    }

    async fn call(self, key: u32) -> Result<String, Rejection> {
        let run = self.runs.fetch_add(1, SeqCst) + 1;
        self.permits.acquire().await.unwrap().forget();
        Ok(format!("value {key} of run {run}"))
    }
}

/// A replica of the fleet: a layer, and a connection of its own.
pub(crate) struct Replica {
    service: BoxCloneSyncService<u32, String, Rejection>,
    pub(crate) handle: DedupHandle,
    pub(crate) redis: Redis,
}

/// How a fleet is set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) lease: Duration,
    pub(crate) time_limit: Duration,
    pub(crate) local_ttl: Duration,
}

impl Setup {
    /// All times are longer than any pause of a busy machine.
    pub(crate) const PATIENT: Self =
        Self { lease: PATIENT, time_limit: PATIENT, local_ttl: PATIENT };

    pub(crate) async fn replica(self, url: impl AsRef<str>, origin: &Origin) -> Replica {
        let redis = Redis::open(url, "shop").unwrap().time_limit(self.time_limit);
        eventually("a connection", async || redis.snapshot().is_connected).await;
        let shared = SharedCache::new(redis.flights().lease(self.lease), Json)
            .local_ttl(self.local_ttl)
            .max_wait(PATIENT);
        let layer = DedupLayer::keyed(|key: &u32| Some(*key))
            .cache(Cache::new(Duration::from_secs(3600)).store(shared))
            .named("pages");
        let (handle, origin) = (layer.handle(), origin.clone());
        let service = layer.layer(service_fn(move |key| origin.clone().call(key)));
        Replica { service: BoxCloneSyncService::new(service), handle, redis }
    }

    pub(crate) async fn replicas(
        self,
        url: impl AsRef<str>,
        number: usize,
        origin: &Origin,
    ) -> Vec<Replica> {
        let mut replicas = Vec::new();
        for _ in 0..number {
            replicas.push(self.replica(url.as_ref(), origin).await);
        }
        replicas
    }
}

impl Replica {
    pub(crate) async fn call(&self, key: u32) -> String {
        self.service.clone().oneshot(key).await.unwrap()
    }

    /// Makes `number` calls at once.
    pub(crate) fn calls(&self, key: u32, number: usize, running: &mut JoinSet<String>) {
        for _ in 0..number {
            let call = self.service.clone().oneshot(key);
            running.spawn(async move { call.await.unwrap() });
        }
    }
}

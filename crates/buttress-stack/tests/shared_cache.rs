//! A cache that replicas share, in a stack: settings, files and misfits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use buttress_core::{BoxError, Codec};
use buttress_dedup::{Cache, Memory, OpenStore, SharedCache};
use buttress_stack::{ClientConfig, DeadlineLayer, DedupLayer, Misfit, SharedCacheConfig, client};
use buttress_testkit::FakeStore;
use bytes::Bytes;
use tokio::time::{advance, sleep};
use tower::{ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Numbers as four bytes.
#[derive(Clone, Debug)]
struct Numbers;

impl Codec<u32> for Numbers {
    const ID: u32 = 1;

    fn encode(&self, value: &u32, out: &mut Vec<u8>, max: usize) -> bool {
        out.extend_from_slice(&value.to_be_bytes());
        max >= 4
    }

    fn decode(&self, bytes: Bytes) -> Option<u32> {
        Some(u32::from_be_bytes(bytes.as_ref().try_into().ok()?))
    }
}

type Shared = SharedCache<FakeStore, Numbers>;

fn shared(store: &FakeStore) -> Shared {
    SharedCache::new(store.clone(), Numbers)
}

fn dedup(shared: Shared) -> DedupLayer<buttress_core::Plain, buttress_core::ByMode, Cache<Shared>> {
    DedupLayer::new().cache(Cache::new(60 * SECOND).store(shared))
}

fn config(change: impl FnOnce(&mut SharedCacheConfig)) -> ClientConfig {
    let mut config = ClientConfig::default();
    change(&mut config.cache.fleet);
    config
}

/// The settings of each misfit.
fn settings(misfits: &[Misfit]) -> Vec<Vec<&str>> {
    misfits.iter().map(|misfit| misfit.settings().collect()).collect()
}

#[test]
fn handle_shows_and_sets_the_options_of_the_cache() {
    let shared = shared(&FakeStore::new());
    let handle = client().dedup(dedup(shared.clone())).handle();
    let built = handle.config();
    assert_eq!(built.cache.fleet.local_ttl, Some(SECOND));
    assert_eq!(built.cache.fleet.max_value, Some(262_144));
    assert_eq!(built.cache.fleet.max_wait, Some(5 * SECOND));
    let wanted = config(|fleet| {
        fleet.local_ttl = Some(Duration::ZERO);
        fleet.max_value = Some(1_000);
        fleet.max_wait = Some(2 * SECOND);
    });
    handle.apply(&wanted).unwrap();
    assert_eq!(handle.config().cache, wanted.cache);
    let cache = shared.handle();
    assert_eq!((cache.local_ttl(), cache.max_value()), (Duration::ZERO, 1_000));
    assert_eq!(cache.max_wait(), 2 * SECOND);
    handle.apply(&ClientConfig::default()).unwrap();
    assert_eq!(handle.config(), built, "a setting that is left out goes back");
}

#[tokio::test(start_paused = true)]
async fn applied_local_ttl_counts_for_the_entries_in_memory() {
    let store = FakeStore::new();
    let calls = Arc::new(AtomicU32::new(0));
    let client = client().dedup(dedup(shared(&store)));
    let service = client.service(service_fn(move |_: u32| {
        let answer = calls.fetch_add(1, Relaxed);
        async move { Ok::<_, BoxError>(answer) }
    }));
    let trips = || buttress_state::QuotaStore::snapshot(&store).operations;
    assert_eq!(service.clone().oneshot(7).await.unwrap(), 0);
    sleep(MS).await;
    let before = trips();
    assert_eq!(service.clone().oneshot(7).await.unwrap(), 0);
    assert_eq!(trips(), before, "the entry is in memory");
    advance(10 * MS).await;
    client.handle().apply(&config(|fleet| fleet.local_ttl = Some(10 * MS))).unwrap();
    assert_eq!(service.oneshot(7).await.unwrap(), 0);
    assert!(trips() > before, "the store is asked");
}

#[test]
fn section_for_a_cache_that_is_not_shared_is_refused_with_the_remedy() {
    let wanted = config(|fleet| fleet.max_wait = Some(SECOND));
    let local = DedupLayer::new().cache(Cache::new(SECOND));
    let handles = [client().handle(), client().dedup(local).handle()];
    for handle in handles {
        assert_eq!(handle.config().cache.fleet, SharedCacheConfig::default());
        let error = handle.apply(&wanted).unwrap_err().to_string();
        assert!(error.starts_with("cache.fleet: "), "{error}");
        assert!(error.contains("Cache::store(SharedCache::new(store, codec))"), "{error}");
    }
    let without_cache = client().dedup(DedupLayer::new()).handle();
    assert!(without_cache.apply(&wanted).is_err());
}

/// A store of the program's own.
#[derive(Clone, Debug)]
struct Own;

impl<K, V> OpenStore<K, V> for Own
where
    Memory: OpenStore<K, V>,
{
    type Store = <Memory as OpenStore<K, V>>::Store;

    fn open(&self, instance: &str) -> Self::Store {
        Memory::default().open(instance)
    }
}

impl buttress_dedup::MaybeShared for Own {}

#[tokio::test(start_paused = true)]
async fn store_of_the_program_has_a_place_in_a_stack() {
    let layer = DedupLayer::new().cache(Cache::new(SECOND).store(Own));
    let client = client().dedup(layer);
    assert_eq!(client.handle().config().cache.fleet, SharedCacheConfig::default());
    let service = client.service(service_fn(|row: u32| async move { Ok::<_, BoxError>(row) }));
    for _ in 0..2 {
        assert_eq!(service.clone().oneshot(7).await.unwrap(), 7);
    }
}

#[test]
fn wait_for_another_replica_that_reaches_the_deadline_is_a_misfit() {
    let with = |wait| client().dedup(dedup(shared(&FakeStore::new()).max_wait(wait)));
    assert_eq!(with(29_999 * MS).misfits(), []);
    let client = with(30 * SECOND);
    let misfits = client.misfits();
    assert_eq!(settings(&misfits), [["cache.fleet.max_wait", "deadline.timeout"]]);
    assert!(misfits[0].remedy().contains("Shorten cache.fleet.max_wait"), "{misfits:?}");
    let cured = config(|fleet| fleet.max_wait = Some(SECOND));
    assert_eq!(client.configure(&cured).unwrap().misfits(), []);
    let short = with(5 * SECOND).deadline(DeadlineLayer::new(5 * SECOND)).without_attempt();
    assert_eq!(
        settings(&short.without_breaker().misfits()),
        [["cache.fleet.max_wait", "deadline.timeout"]]
    );
}

#[test]
fn value_of_no_bytes_is_a_misfit() {
    let handle = client().dedup(dedup(shared(&FakeStore::new()))).handle();
    let wanted = config(|fleet| fleet.max_value = Some(0));
    let misfits = handle.apply(&wanted).unwrap_err().to_string();
    assert!(misfits.starts_with("cache.fleet.max_value: 0 is too few."), "{misfits}");
}

#[cfg(feature = "serde")]
#[test]
fn cache_is_read_from_all_formats_and_written_back() {
    let text = r#"
        [cache]
        fleet = { local_ttl = "500ms", max_value = 65536, max_wait = "2s" }
    "#;
    let config: ClientConfig = toml::from_str(text).unwrap();
    assert_eq!(config.cache.fleet.local_ttl, Some(500 * MS));
    assert_eq!(config.cache.fleet.max_value, Some(65_536));
    let yaml = "cache: { fleet: { local_ttl: 500ms, max_value: 65536, max_wait: 2s } }\n";
    assert_eq!(serde_norway::from_str::<ClientConfig>(yaml).unwrap(), config);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ClientConfig>(&text).unwrap(), config);
    let wrong = "[cache.fleet]\nmax_value = \"64KiB\"\nlease = \"3s\"\n";
    let error = toml::from_str::<ClientConfig>(wrong).unwrap_err().to_string();
    assert!(error.contains("cache.fleet.max_value: \"64KiB\" is no whole number."), "{error}");
    assert!(error.contains("cache.fleet.lease: There is no such setting."), "{error}");
    let within = "deadline.timeout = \"2s\"\ncache.fleet.max_wait = \"2s\"\n";
    let error = toml::from_str::<ClientConfig>(within).unwrap_err().to_string();
    assert!(error.contains("cache.fleet.max_wait, deadline.timeout: "), "{error}");
    let server = toml::from_str::<buttress_stack::ServerConfig>("[cache.fleet]\nmax_value = 1\n");
    assert!(server.unwrap_err().to_string().contains("cache: There is no such setting."));
}

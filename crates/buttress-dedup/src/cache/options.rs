use std::time::Duration;

use buttress_control::{Backoff, EarlyRefresh, Jitter, Ratio};
use buttress_core::{By, ByMode};

use crate::Memory;

/// The options of the cache: TTL, stale windows and bounds.
///
/// In `Http` mode a response's own freshness comes first, as
/// [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111) requires. The options here apply to responses that
/// state none.
#[derive(Clone, Debug)]
#[doc(alias("cache", "TTL", "response cache", "memoize"))]
pub struct Cache<St = Memory, J = ByMode> {
    pub(super) options: CacheOptions,
    pub(super) store: St,
    pub(super) judge: J,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct CacheOptions {
    pub(super) ttl: Option<Duration>,
    pub(super) negative_ttl: Option<Duration>,
    pub(super) jitter: Ratio,
    pub(super) stale_while_revalidate: Duration,
    pub(super) stale_if_error: Duration,
    pub(super) early_refresh: Option<EarlyRefresh>,
    pub(super) refresh_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) seed: Option<u64>,
}

impl Cache {
    /// Caches successes for `ttl`, spread by the [`jitter`](Self::jitter).
    pub fn new(ttl: Duration) -> Self {
        Self::with_ttl(Some(ttl))
    }

    /// Caches only responses that state their own freshness (`Cache-Control`, `Expires`). In `Plain` mode
    /// no response does.
    #[doc(alias("Cache-Control", "max-age", "Expires"))]
    pub fn from_headers() -> Self {
        Self::with_ttl(None)
    }

    fn with_ttl(ttl: Option<Duration>) -> Self {
        let options = CacheOptions {
            ttl,
            negative_ttl: None,
            jitter: Ratio::percent(10),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            early_refresh: None,
            refresh_timeout: Duration::from_secs(30),
            backoff: Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60))
                .jitter(Jitter::Proportional(Ratio::percent(20))),
            seed: None,
        };
        Self { options, store: Memory::default(), judge: ByMode }
    }
}

impl<J> Cache<Memory, J> {
    /// Sets the maximum number of entries. Default: 10,000. With 0 nothing is cached.
    pub fn max_entries(mut self, max: usize) -> Self {
        self.store.max_entries = max;
        self
    }

    /// Sets the maximum bytes of all entries. Default: 64 MiB. With 0 nothing is cached.
    ///
    /// An entry that takes more than a tenth of `max` is not cached. An entry counts together with its
    /// [key](buttress_core::KeyOf::weight). In `Plain` mode an outcome counts with the size of its type,
    /// without the memory that it owns elsewhere.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.store.max_bytes = max;
        self
    }
}

impl<St, J> Cache<St, J> {
    /// Sets the TTL of permanent failures (verdict [`Permanent`](buttress_core::Verdict::Permanent), such
    /// as *not found*). Default: not cached. Other failures are never cached.
    ///
    /// In `Plain` mode no error is permanent unless [`classify`](Self::classify) says so. An error is cached
    /// only if the layer may [share](crate::DedupLayer::share_errors) it.
    #[doc(alias("negative caching"))]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.options.negative_ttl = Some(ttl);
        self
    }

    /// Sets the maximum spread of lifetimes, so that entries made together do not expire together.
    /// Default: 10 %. A configured TTL becomes longer or shorter. A lifetime that the response stated
    /// becomes only shorter.
    pub fn jitter(mut self, jitter: Ratio) -> Self {
        self.options.jitter = jitter;
        self
    }

    /// Sets how long a stale entry is still served, while a single background call refreshes the entry.
    /// Default: 0 (never). An entry is stale once its TTL, or the freshness that the response stated, has
    /// passed.
    ///
    /// That call is spawned on the runtime of the caller that found the entry stale. Its criticality is
    /// [`SheddablePlus`](buttress_core::Criticality::SheddablePlus). It ends after
    /// [`refresh_timeout`](Self::refresh_timeout).
    #[doc(alias("SWR", "stale-while-revalidate", "background refresh"))]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.options.stale_while_revalidate = window;
        self
    }

    /// Sets how long a stale entry is served in place of a failure: a failure that is not permanent, or a
    /// panic. Default: 0 (never). An entry is stale once its TTL, or the freshness that the response stated,
    /// has passed.
    ///
    /// The inner call is made first, each time. Together with
    /// [`stale_while_revalidate`](Self::stale_while_revalidate), callers are answered at once, and after a
    /// failed refresh the next refresh waits for its [`backoff`](Self::refresh_backoff).
    #[doc(alias("stale-if-error", "fallback", "serve stale"))]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.options.stale_if_error = window;
        self
    }

    /// Refreshes entries in the background before they expire. The longer a response took, the more likely
    /// is an early refresh, as [`EarlyRefresh`] describes. Default: off.
    pub fn early_refresh(mut self, law: EarlyRefresh) -> Self {
        self.options.early_refresh = Some(law);
        self
    }

    /// Sets the time limit of a background refresh. Default: 30 s.
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.options.refresh_timeout = timeout;
        self
    }

    /// Sets how long the next refresh of an entry waits after a failed refresh. Default: exponential from 1 s
    /// to 60 s, ± 20 %.
    pub fn refresh_backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// Sets the classification of outcomes for the cache, in place of the mode's own.
    #[doc(alias("is_retryable", "retry predicate"))]
    pub fn classify<C>(self, classify: C) -> Cache<St, By<C>> {
        Cache { options: self.options, store: self.store, judge: By(classify) }
    }

    /// Sets the store of the entries. Default: [`Memory`], in this process.
    pub fn store<St2>(self, store: St2) -> Cache<St2, J> {
        Cache { options: self.options, store, judge: self.judge }
    }

    /// Sets the seed of all random decisions: jitter, early refresh and backoff. Equal seeds make these
    /// decisions repeatable. Default: a random seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }
}

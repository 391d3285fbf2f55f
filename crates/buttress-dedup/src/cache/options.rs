use std::time::Duration;

use buttress_control::{Backoff, EarlyRefresh, Jitter, Ratio};
use buttress_core::{By, ByMode};

use crate::Memory;

/// How long answers are kept, and how many.
///
/// In `Http` mode the answers themselves have the first word, as
/// [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111) says, and what is set here is for those that say
/// nothing.
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
    /// Keeps successes for `ttl`, give or take the [`jitter`](Self::jitter).
    pub fn new(ttl: Duration) -> Self {
        Self::with_ttl(Some(ttl))
    }

    /// Keeps what says itself how long it may be kept, and nothing else. In `Plain` mode no answer says
    /// so.
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
    /// Keeps up to `max` answers; 10,000 by default.
    pub fn max_entries(mut self, max: usize) -> Self {
        self.store.max_entries = max;
        self
    }

    /// Keeps answers of up to `max` bytes in all; 64 MiB by default. One that takes more than a tenth of
    /// that is not kept. An answer counts together with its [key](buttress_core::KeyOf::weight); in
    /// `Plain` mode with the size of its type, without what it owns elsewhere.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.store.max_bytes = max;
        self
    }
}

impl<St, J> Cache<St, J> {
    /// Keeps failures that would come again, such as "not found", for `ttl`: those whose verdict is
    /// [`Permanent`](buttress_core::Verdict::Permanent). By default they are not kept. All other failures never are.
    ///
    /// In `Plain` mode no error is known to be permanent: say so with [`classify`](Self::classify). An error
    /// is kept only where the layer may [share](crate::DedupLayer::share_errors) it.
    #[doc(alias("negative caching"))]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.options.negative_ttl = Some(ttl);
        self
    }

    /// Spreads lifetimes by up to this much, so that what came together does not go together; 10 % by
    /// default. A ttl is made longer or shorter, what an answer said of itself only shorter.
    pub fn jitter(mut self, jitter: Ratio) -> Self {
        self.options.jitter = jitter;
        self
    }

    /// For so long after its time an answer is given out still, while one call in the background fetches
    /// a newer one. None by default.
    ///
    /// That call is spawned on the runtime of the caller who found the answer stale. It is
    /// [`SheddablePlus`](buttress_core::Criticality::SheddablePlus), and ends after
    /// [`refresh_timeout`](Self::refresh_timeout).
    #[doc(alias("SWR", "stale-while-revalidate", "background refresh"))]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.options.stale_while_revalidate = window;
        self
    }

    /// For so long after its time an answer is given out in place of a failure: of any that another
    /// attempt might mend, or a panic. None by default.
    ///
    /// The call is made first, each time. Together with [`stale_while_revalidate`](Self::stale_while_revalidate) callers
    /// are answered at once, and one refresh after the other waits for its [`backoff`](Self::refresh_backoff).
    #[doc(alias("stale-if-error", "fallback", "serve stale"))]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.options.stale_if_error = window;
        self
    }

    /// Renews answers in the background before their time has come: the likelier the longer they took
    /// to make, as [`EarlyRefresh`] says. Off by default.
    pub fn early_refresh(mut self, law: EarlyRefresh) -> Self {
        self.options.early_refresh = Some(law);
        self
    }

    /// How long a refresh in the background may take; 30 s by default.
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.options.refresh_timeout = timeout;
        self
    }

    /// How long the next refresh of an answer waits after one that failed; exponential from 1 s to 60 s,
    /// give or take 20 %, by default.
    pub fn refresh_backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// What an outcome means, in place of the mode's own classification.
    #[doc(alias("is_retryable", "retry predicate"))]
    pub fn classify<C>(self, classify: C) -> Cache<St, By<C>> {
        Cache { options: self.options, store: self.store, judge: By(classify) }
    }

    /// Keeps answers somewhere else.
    pub fn store<St2>(self, store: St2) -> Cache<St2, J> {
        Cache { options: self.options, store, judge: self.judge }
    }

    /// Makes chance repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }
}

use std::time::Duration;

use buttress_control::Ratio;
use buttress_throttle::WithoutStore;

use super::section::section;

section! {
    /// The settings of a `DeadlineLayer`.
    DeadlineConfig {
        /// The timeout of a call, or of an attempt.
        timeout: Option<Duration>,
    }
}

section! {
    /// The settings of a `RetryLayer`.
    RetryConfig {
        /// The number of attempts in all, the first included. 1 makes no retry.
        attempts: Option<u32>,
        /// The wait before each attempt after the first.
        backoff: BackoffConfig,
    }
}

section! {
    /// The bounds of a `Backoff`. Its curve and jitter stay those of the program.
    BackoffConfig {
        /// The first delay. Zero means no wait.
        base: Option<Duration>,
        /// The longest delay.
        max: Option<Duration>,
    }
}

section! {
    /// The settings of a `HedgeLayer`. Set `after`, or `quantile` and `least`.
    HedgeConfig {
        /// A fixed delay.
        after: Option<Duration>,
        /// The quantile of the observed latency after which a hedge is sent, such as 95 %.
        quantile: Option<Ratio>,
        /// The shortest delay if it is learned.
        least: Option<Duration>,
        /// The number of hedges for each call. 0 sends none.
        at_most: Option<u32>,
    }
}

section! {
    /// The rules of a `BreakerLayer`.
    BreakerConfig {
        /// The share of failures that opens the circuit.
        failures: Option<Ratio>,
        /// The calls in the window from which on shares count.
        minimum: Option<u32>,
        /// The run of failures that opens the circuit while the window holds fewer calls.
        consecutive: Option<u32>,
        /// The rule for slow calls.
        slow: SlowConfig,
        /// The time after which an outcome is forgotten.
        window: Option<Duration>,
        /// How long the circuit stays open.
        open_for: BackoffConfig,
        /// The calls that decide a half-open circuit.
        probes: Option<u32>,
        /// How many of the probes must succeed.
        needed: Option<u32>,
        /// The stages after the probes.
        ramp: RampConfig,
        /// The time after which a probe without an outcome counts as a failure.
        probe_patience: Option<Duration>,
    }
}

section! {
    /// The rule of a breaker for slow calls. Set both.
    SlowConfig {
        /// The time from which on a call is slow.
        limit: Option<Duration>,
        /// The share of slow calls that opens the circuit.
        ratio: Option<Ratio>,
    }
}

section! {
    /// The stages of a breaker after its probes.
    RampConfig {
        /// The length of a stage.
        stage: Option<Duration>,
        /// The share of the calls that each stage admits, at most eight. Empty: no ramp.
        shares: Option<Vec<Ratio>>,
    }
}

section! {
    /// The settings of `ThrottleLayer::concurrency`. With keys, those of each key.
    ConcurrencyConfig {
        /// The number of calls at a time. Only of a fixed limit.
        limit: Option<u32>,
        /// The number of calls that wait. 0 rejects at once.
        queue: Option<u32>,
        /// The longest wait.
        max_wait: Option<Duration>,
    }
}

section! {
    /// The settings of `ThrottleLayer::rate`. With keys, those of each key.
    ///
    /// Of several rates, `calls`, `per` and `burst` are no settings.
    RateConfig {
        /// The number of calls in each period.
        calls: Option<u32>,
        /// The period.
        per: Option<Duration>,
        /// The number of calls that pass at once after a rest.
        burst: Option<u32>,
        /// The number of calls that wait. 0 rejects at once.
        queue: Option<u32>,
        /// The longest wait.
        max_wait: Option<Duration>,
        /// The replicas that keep the rate together. Only of a rate with `.fleet(..)`.
        fleet: FleetConfig,
    }
}

section! {
    /// The settings of a `Fleet`. Its store is given in the program, with
    /// `.fleet(Fleet::new(store, replicas))`.
    FleetConfig {
        /// The most replicas that run at the same time, at least 2.
        replicas: Option<u32>,
        /// The part of the burst that replicas may hold ahead, such as 20 %. 0: each call
        /// asks the store.
        reserve: Option<Ratio>,
        /// The time for which a replica holds calls ahead, at most an hour. Below 20 ms, each call
        /// asks the store.
        lease: Option<Duration>,
        /// What happens to calls while the store is away: `local_share`, `fail_open` or
        /// `fail_closed`.
        without_store: Option<WithoutStore>,
    }
}

section! {
    /// The settings of the cache of a `DedupLayer`.
    CacheConfig {
        /// The options of a cache that replicas share. Only of a `SharedCache`.
        fleet: SharedCacheConfig,
    }
}

section! {
    /// The settings of a `SharedCache`. Its store is given in the program, with
    /// `Cache::store(SharedCache::new(store, codec))`. The lease of a flight is an option of the store.
    SharedCacheConfig {
        /// How long a process serves an entry before it asks the store again. Zero: each call asks.
        local_ttl: Option<Duration>,
        /// The maximum bytes of a value in the store.
        max_value: Option<u32>,
        /// How long a call waits for the call of another replica. Zero: no call waits.
        max_wait: Option<Duration>,
    }
}

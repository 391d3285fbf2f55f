mod merge;
mod section;
mod sections;

pub use self::sections::{
    BackoffConfig, BreakerConfig, CacheConfig, ConcurrencyConfig, DeadlineConfig, FleetConfig,
    HedgeConfig, RampConfig, RateConfig, RetryConfig, SharedCacheConfig, SlowConfig,
};
pub(crate) use self::{
    merge::merged,
    section::{Section, Setting, Visitor},
};

use self::section::section;

section! {
    /// The settings of a client that can change while calls run, as plain data.
    ///
    /// A setting that is left out has the value that the program gave to the client. So
    /// `ClientConfig::default()` changes nothing, or changes all settings back. A section that belongs
    /// to no layer of the client is an error.
    ///
    /// With the feature `serde` the value is read from TOML, YAML, JSON and other formats that know
    /// names. Durations and shares are written in words: `"30s"`, `"250ms"`, `"1m 30s"`, `"20%"`, or
    /// `0.2` for a share. Unknown names are refused. The error lists all faults of the file at once,
    /// each with the path of the setting and what to write.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// use std::time::Duration;
    /// use buttress_stack::ClientConfig;
    ///
    /// let text = r#"
    ///     [deadline]
    ///     timeout = "5s"
    ///     [retry]
    ///     attempts = 4
    ///     backoff = { base = "50ms", max = "1s" }
    ///     [breaker]
    ///     failures = "25%"
    ///     [attempt]
    ///     timeout = "2s"
    /// "#;
    /// let config: ClientConfig = toml::from_str(text).unwrap();
    /// assert_eq!(config.attempt.timeout, Some(Duration::from_secs(2)));
    /// let client = config.build().unwrap();
    /// assert_eq!(client.handle().config().retry.attempts, Some(4));
    ///
    /// let wrong = "[retry]\nattempts = 0\n[attempt]\ntimeout = 30\n";
    /// let error = toml::from_str::<ClientConfig>(wrong).unwrap_err().to_string();
    /// assert!(error.contains("retry.attempts") && error.contains("attempt.timeout"));
    /// # }
    /// ```
    ClientConfig {
        /// The deadline of the whole call.
        deadline: DeadlineConfig,
        /// The cache of a dedup layer.
        cache: CacheConfig,
        /// The retry.
        retry: RetryConfig,
        /// The hedge.
        hedge: HedgeConfig,
        /// The circuit breaker. With keys, the rules of all circuits.
        breaker: BreakerConfig,
        /// A throttle by `ThrottleLayer::concurrency`. Of an adaptive limit, only the queue.
        concurrency: ConcurrencyConfig,
        /// A throttle by `ThrottleLayer::rate`. Of several rates, only the queue and the fleet.
        rate: RateConfig,
        /// The deadline of each attempt.
        attempt: DeadlineConfig,
    }
}

section! {
    /// The settings of a server that can change while calls run, as plain data. The rules are those of
    /// [`ClientConfig`].
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// use buttress_stack::ServerConfig;
    ///
    /// let text = r#"{ "deadline": { "timeout": "10s" }, "concurrency": { "limit": 200, "queue": 50 } }"#;
    /// let config: ServerConfig = serde_json::from_str(text).unwrap();
    /// assert_eq!(config.build().unwrap().handle().config().concurrency.limit, Some(200));
    /// # }
    /// ```
    ServerConfig {
        /// The deadline.
        deadline: DeadlineConfig,
        /// A throttle by `ThrottleLayer::concurrency`. Of an adaptive limit, only the queue.
        concurrency: ConcurrencyConfig,
        /// A throttle by `ThrottleLayer::rate`. Of several rates, only the queue and the fleet.
        rate: RateConfig,
    }
}

/// The settings of a client or a server among those of a client, which are all there are.
pub(crate) trait StackConfig: Clone {
    fn into_client(self) -> ClientConfig;

    /// Drops the settings that this kind of stack does not have.
    fn of_client(config: ClientConfig) -> Self;
}

impl StackConfig for ClientConfig {
    fn into_client(self) -> ClientConfig {
        self
    }

    fn of_client(config: ClientConfig) -> Self {
        config
    }
}

impl StackConfig for ServerConfig {
    fn into_client(self) -> ClientConfig {
        let Self { deadline, concurrency, rate } = self;
        ClientConfig { deadline, concurrency, rate, ..ClientConfig::default() }
    }

    fn of_client(config: ClientConfig) -> Self {
        let ClientConfig { deadline, concurrency, rate, .. } = config;
        Self { deadline, concurrency, rate }
    }
}

use std::sync::Arc;

use buttress_core::{Measure, Metric, Reading};
use buttress_deadline::DeadlineHandle;
use buttress_dedup::{DedupHandle, SharedCacheHandle};
use buttress_fallback::FallbackHandle;
use buttress_hedge::{HedgeHandle, HedgeRule};
use buttress_retry::RetryHandle;

use super::{
    BreakerControl, ThrottleControl,
    backoff::{between, bounds},
    shared_cache::{set, shown},
};
use crate::{
    config::{CacheConfig, ClientConfig, DeadlineConfig, HedgeConfig, RetryConfig},
    misfit::Facts,
};

/// The handles of the layers of a stack. `None` in an empty place, and in that of a foreign layer.
#[derive(Clone, Default)]
pub(crate) struct Handles {
    pub(crate) fallback: Option<FallbackHandle>,
    pub(crate) deadline: Option<DeadlineHandle>,
    pub(crate) dedup: Option<DedupHandle>,
    pub(crate) shared_cache: Option<SharedCacheHandle>,
    pub(crate) order: Option<Arc<dyn Measure>>,
    pub(crate) retry: Option<RetryHandle>,
    pub(crate) hedge: Option<HedgeHandle>,
    pub(crate) breaker: Option<Arc<dyn BreakerControl>>,
    pub(crate) throttle: Option<Arc<dyn ThrottleControl>>,
    pub(crate) attempt: Option<DeadlineHandle>,
}

impl Handles {
    /// The present settings.
    pub(crate) fn config(&self) -> ClientConfig {
        let timeout = |handle: &Option<DeadlineHandle>| DeadlineConfig {
            timeout: handle.as_ref().and_then(DeadlineHandle::timeout),
        };
        let throttle = self.throttle.as_deref();
        ClientConfig {
            deadline: timeout(&self.deadline),
            cache: CacheConfig { fleet: self.shared_cache.as_ref().map(shown).unwrap_or_default() },
            retry: self.retry.as_ref().map(shown_retry).unwrap_or_default(),
            hedge: self.hedge.as_ref().map(shown_hedge).unwrap_or_default(),
            breaker: self.breaker.as_ref().map(|breaker| breaker.config()).unwrap_or_default(),
            concurrency: throttle.and_then(ThrottleControl::concurrency).unwrap_or_default(),
            rate: throttle.and_then(ThrottleControl::rate).unwrap_or_default(),
            attempt: timeout(&self.attempt),
        }
    }

    /// Sets all settings except those of the throttle. Wakes no call.
    pub(crate) fn set(&self, config: &ClientConfig) {
        if let Some(deadline) = &self.deadline {
            deadline.set_timeout(config.deadline.timeout);
        }
        if let Some(cache) = &self.shared_cache {
            set(cache, &config.cache.fleet);
        }
        if let Some(retry) = &self.retry {
            set_retry(retry, &config.retry);
        }
        if let Some(hedge) = &self.hedge {
            set_hedge(hedge, &config.hedge);
        }
        if let Some(breaker) = &self.breaker {
            breaker.set(&config.breaker);
        }
        if let Some(attempt) = &self.attempt {
            attempt.set_timeout(config.attempt.timeout);
        }
    }

    /// The numbers that are in no configuration. `is_shared`: whether the hedge is paid from the
    /// budget of the retry too.
    pub(crate) fn facts(&self, is_shared: bool) -> Facts {
        let retry = self.retry.as_ref().filter(|_| is_shared);
        Facts {
            patience: self.breaker.as_ref().and_then(|breaker| breaker.patience()),
            hedge_ratio: self.hedge.as_ref().and_then(|hedge| hedge.budget().ratio()),
            retry_ratio: retry.and_then(|retry| retry.budget().ratio()),
            fleet: self.throttle.as_ref().and_then(|throttle| throttle.fleet()),
        }
    }

    fn all(&self) -> impl Iterator<Item = &dyn Measure> {
        let handles = [
            self.fallback.as_ref().map(measured),
            self.deadline.as_ref().map(measured),
            self.dedup.as_ref().map(measured),
            self.order.as_ref().map(measured),
            self.retry.as_ref().map(measured),
            self.hedge.as_ref().map(measured),
            self.breaker.as_ref().map(measured),
            self.throttle.as_ref().map(measured),
            self.attempt.as_ref().map(measured),
        ];
        handles.into_iter().flatten()
    }
}

fn measured<T: Measure>(handle: &T) -> &dyn Measure {
    handle
}

impl Measure for Handles {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        self.all().for_each(|handle| handle.describe(define));
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        self.all().for_each(|handle| handle.measure(read));
    }
}

fn shown_retry(handle: &RetryHandle) -> RetryConfig {
    RetryConfig { attempts: Some(handle.attempts()), backoff: bounds(&handle.backoff()) }
}

fn set_retry(handle: &RetryHandle, config: &RetryConfig) {
    if let Some(attempts) = config.attempts {
        handle.set_attempts(attempts);
    }
    handle.set_backoff(between(handle.backoff(), &config.backoff));
}

fn shown_hedge(handle: &HedgeHandle) -> HedgeConfig {
    let at_most = Some(handle.at_most());
    match handle.rule() {
        HedgeRule::At(quantile, least) => {
            HedgeConfig { after: None, quantile: Some(quantile), least: Some(least), at_most }
        }
        rule => HedgeConfig { after: Some(rule.least()), at_most, ..HedgeConfig::default() },
    }
}

fn set_hedge(handle: &HedgeHandle, config: &HedgeConfig) {
    if let Some(hedges) = config.at_most {
        handle.set_at_most(hedges);
    }
    let rule = match (config.after, config.quantile) {
        (Some(after), _) => HedgeRule::After(after),
        (None, Some(quantile)) => HedgeRule::At(quantile, config.least.unwrap_or_default()),
        (None, None) => return,
    };
    // An equal rule is not set, because the learned latency stays then.
    if rule != handle.rule() {
        handle.set_rule(rule);
    }
}

use super::Handles;
use crate::{
    Misfit,
    config::{ClientConfig, RateConfig, Setting},
};

/// The sections of `config` that belong to no layer of the stack.
pub(super) fn unknown_sections(
    config: &ClientConfig,
    built: &ClientConfig,
    handles: &Handles,
) -> Vec<Misfit> {
    let throttle = handles.throttle.as_deref();
    let is_concurrency = throttle.is_some_and(|throttle| throttle.concurrency().is_some());
    let is_rate = throttle.is_some_and(|throttle| throttle.rate().is_some());
    let mut unknown = Vec::new();
    for (section, place, is_set, is_there) in [
        ("deadline", "deadline", config.deadline.is_set(), handles.deadline.is_some()),
        ("retry", "retry", config.retry.is_set(), handles.retry.is_some()),
        ("hedge", "hedge", config.hedge.is_set(), handles.hedge.is_some()),
        ("breaker", "breaker", config.breaker.is_set(), handles.breaker.is_some()),
        ("concurrency", "throttle", config.concurrency.is_set(), is_concurrency),
        ("rate", "throttle", config.rate.is_set(), is_rate),
        ("attempt", "attempt", config.attempt.is_set(), handles.attempt.is_some()),
    ] {
        if is_set && !is_there {
            let remedy = format!(
                "The place `{place}` of this stack holds no layer that has these settings. Remove \
                 the section, or put in the layer with `.{place}(..)`."
            );
            unknown.push(Misfit::new([section], remedy));
        }
    }
    unknown.extend(unknown_settings(config, built));
    unknown
}

/// The settings of `config` that the layers of the stack do not have.
fn unknown_settings(config: &ClientConfig, built: &ClientConfig) -> Vec<Misfit> {
    let mut unknown = Vec::new();
    let is_adaptive = built.concurrency.is_set() && built.concurrency.limit.is_none();
    if is_adaptive && config.concurrency.limit.is_some() {
        let remedy = "The limit of this stack is adaptive. Remove the setting.";
        unknown.push(Misfit::new(["concurrency.limit"], remedy));
    }
    if config.cache.is_set() && !built.cache.is_set() {
        let remedy = "No cache of this stack is shared by replicas, and the store is given in the \
                      program: `Cache::store(SharedCache::new(store, codec))`. Put the layer in with \
                      `.dedup(..)`, or remove the section.";
        unknown.push(Misfit::new(["cache.fleet"], remedy));
    }
    if built.rate.is_set() {
        unknown.extend(unknown_of_rate(&config.rate, &built.rate));
    }
    unknown
}

/// The settings of `config` that the rate of the stack does not have.
fn unknown_of_rate(config: &RateConfig, built: &RateConfig) -> Vec<Misfit> {
    let mut unknown = Vec::new();
    let own = [
        ("rate.calls", config.calls.is_some()),
        ("rate.per", config.per.is_some()),
        ("rate.burst", config.burst.is_some()),
    ];
    for (setting, _) in own.into_iter().filter(|(_, is_set)| *is_set && built.calls.is_none()) {
        let remedy = "The throttle of this stack has several rates. Remove the setting.";
        unknown.push(Misfit::new([setting], remedy));
    }
    if config.fleet.is_set() && !built.fleet.is_set() {
        let remedy = "The rate of this stack has no store, and the store is given in the program: \
                      `ThrottleLayer::rate(..).fleet(Fleet::new(store, replicas))`. Put the layer \
                      in with `.throttle(..)`, or remove the section.";
        unknown.push(Misfit::new(["rate.fleet"], remedy));
    }
    unknown
}

use buttress::{
    breaker::BreakerLayer,
    deadline::DeadlineLayer,
    dedup::{Cache, DedupLayer},
    hedge::HedgeLayer,
    order::OrderLayer,
    throttle::{Rate, ThrottleLayer},
};
use tower::{Layer, Service};

use crate::{
    Echo, Inner, Source,
    cases::{
        limits::request_as_key,
        settings::{IN_FLIGHT, TIMEOUT},
    },
    growth::{Growth, crowd::Crowd},
    service::{ONE_MORE, Unanswered},
};

/// Every kind of state that grows with the calls, keys or entries.
pub fn growths() -> Vec<Growth> {
    let mut growths = timers();
    growths.extend(queues());
    growths.extend(keys());
    growths.extend(flights());
    growths.extend(entries());
    growths
}

fn timers() -> Vec<Growth> {
    vec![
        Growth::new("pending deadlines", "pends and completes", |others| {
            completes_beside(DeadlineLayer::new(TIMEOUT).layer(Unanswered), 0..others)
        }),
        Growth::new("pending hedges", "pends and completes", |others| {
            completes_beside(HedgeLayer::after(TIMEOUT).layer(Unanswered), 0..others)
        }),
    ]
}

/// The others wait for the call that has the permit or the turn.
fn queues() -> Vec<Growth> {
    let throttle = || ThrottleLayer::concurrency(1).queue(QUEUE).layer(Echo(Inner::Pend));
    let order = || OrderLayer::serial(one_key).queue(QUEUE).layer(Echo(Inner::Pend));
    vec![
        Growth::new("calls in a throttle's queue", "joins and leaves", move |others| {
            leaves(Crowd::new(throttle(), 0..=others))
        }),
        Growth::new(
            "calls in a throttle's queue",
            "joins while the first is served",
            move |others| takes_turns(Crowd::new(throttle(), 0..=others)),
        ),
        Growth::new("calls that wait in order", "joins and leaves", move |others| {
            leaves(Crowd::new(order(), 0..=others))
        }),
        Growth::new("calls that wait in order", "joins while the first is served", move |others| {
            takes_turns(Crowd::new(order(), 0..=others))
        }),
    ]
}

/// The others hold their keys, or have not refilled their burst.
fn keys() -> Vec<Growth> {
    let concurrency = || {
        let layer = ThrottleLayer::concurrency(IN_FLIGHT).keyed(request_as_key);
        layer.max_keys(KEYS).layer(Unanswered)
    };
    let rate = || {
        let rate = Rate::per_hour(1).burst(IN_FLIGHT);
        ThrottleLayer::rate(rate).keyed(request_as_key).max_keys(KEYS).layer(Unanswered)
    };
    let breaker = || BreakerLayer::new().keyed(request_as_key).max_keys(KEYS).layer(Unanswered);
    let order = || OrderLayer::serial(request_as_key).max_keys(KEYS).layer(Unanswered);
    vec![
        Growth::new("keys of a concurrency limit", "same key", move |others| {
            completes_beside(concurrency(), 0..others)
        }),
        Growth::new("keys of a concurrency limit", "new key", move |others| {
            completes_with_new_keys(concurrency(), 0..others)
        }),
        Growth::new("keys of a rate limit", "same key", move |others| {
            completes_beside(rate(), 0..others)
        }),
        Growth::new("keys of a rate limit", "new key", move |others| {
            completes_with_new_keys(rate(), 0..others)
        }),
        Growth::new("keys of a breaker", "same key", move |others| {
            completes_beside(breaker(), 0..others)
        }),
        Growth::new("keys of a breaker", "new key", move |others| {
            completes_with_new_keys(breaker(), 0..others)
        }),
        Growth::new("keys of an order", "same key", move |others| {
            completes_beside(order(), 0..others)
        }),
        Growth::new("keys of an order", "new key", move |others| {
            completes_with_new_keys(order(), 0..others)
        }),
    ]
}

fn flights() -> Vec<Growth> {
    let dedup = || DedupLayer::new().layer(Unanswered);
    vec![
        Growth::new("members of a flight", "joins and leaves", move |others| {
            let mut crowd = Crowd::new(dedup(), (0..=others).map(|_| 0));
            move || crowd.leave(0)
        }),
        Growth::new("flights", "a flight that completes", move |others| {
            completes_beside(dedup(), 0..others)
        }),
    ]
}

fn entries() -> Vec<Growth> {
    let cached = |max| {
        let cache = Cache::new(TIMEOUT).max_entries(max).max_bytes(usize::MAX);
        DedupLayer::new().cache(cache).layer(Source::new(Inner::Ready))
    };
    let filled = move |others, max| {
        let mut crowd = Crowd::new(cached(max), 0..0);
        (0..others).for_each(|request| crowd.complete(request));
        crowd
    };
    vec![
        Growth::new("entries of a cache", "hit", move |others| {
            let mut crowd = filled(others, KEYS);
            move || crowd.complete(0)
        }),
        Growth::new("entries of a cache", "new entry", move |others| {
            with_new_keys(filled(others, KEYS))
        }),
        Growth::new("entries of a full cache", "new entry", move |others| {
            with_new_keys(filled(others, usize::try_from(others).unwrap_or(KEYS)))
        }),
    ]
}

/// Calls in flight with `others` as requests, and calls that all have another request and complete.
fn completes_beside<S>(service: S, others: impl Iterator<Item = u64>) -> impl FnMut()
where
    S: Service<u64, Response = u64>,
{
    let mut crowd = Crowd::new(service, others);
    move || crowd.complete(ONE_MORE)
}

/// The same with a request that no call has had before.
fn completes_with_new_keys<S>(service: S, others: impl Iterator<Item = u64>) -> impl FnMut()
where
    S: Service<u64, Response = u64>,
{
    with_new_keys(Crowd::new(service, others))
}

fn with_new_keys<S: Service<u64, Response = u64>>(mut crowd: Crowd<S>) -> impl FnMut() {
    let mut requests = ONE_MORE..;
    move || crowd.complete(requests.next().unwrap_or_default())
}

fn leaves<S: Service<u64, Response = u64>>(mut crowd: Crowd<S>) -> impl FnMut() {
    move || crowd.leave(ONE_MORE)
}

fn takes_turns<S: Service<u64, Response = u64>>(mut crowd: Crowd<S>) -> impl FnMut() {
    move || crowd.take_turns(ONE_MORE)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "keys are read off a reference")]
#[expect(clippy::unnecessary_wraps, reason = "a request may have no key")]
fn one_key(_: &u64) -> Option<u64> {
    Some(7)
}

/// More than any number of others.
const KEYS: usize = 1_000_000;
const QUEUE: usize = 200_000;

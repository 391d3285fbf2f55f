//! Arbitrary options: no overflow, no panic, and no call that hangs.

use std::time::Duration;

use buttress_core::{Deadline, Verdict};
use buttress_dedup::{Backoff, Cache, DedupLayer, EarlyRefresh, Ratio};
use buttress_testkit::TestError;
use proptest::{prelude::*, test_runner::Config};
use tokio::time::{advance, sleep};

use crate::support::{Cached, Does, Source, ms};

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::from_nanos(1)),
        Just(ms(1)),
        (0..100_000_u64).prop_map(ms),
        Just(Deadline::NEVER),
        Just(Duration::from_secs(u64::MAX)),
        Just(Duration::MAX),
    ]
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), 0..200_usize, Just(1 << 20), Just(usize::MAX)]
}

fn ratios() -> impl Strategy<Value = Ratio> {
    prop_oneof![
        Just(Ratio::ZERO),
        Just(Ratio::percent(100)),
        Just(Ratio::MAX),
        any::<f64>().prop_map(Ratio::of)
    ]
}

fn backoffs() -> impl Strategy<Value = Backoff> {
    prop_oneof![
        durations().prop_map(Backoff::constant),
        (durations(), durations()).prop_map(|(base, max)| Backoff::exponential(base, max)),
        (durations(), durations()).prop_map(|(base, max)| Backoff::decorrelated(base, max)),
    ]
}

prop_compose! {
    fn caches()(
        ttl in durations(),
        negative in durations(),
        while_revalidate in durations(),
        if_error in durations(),
        refresh_timeout in durations(),
        backoff in backoffs(),
        beta in prop_oneof![Just(0.0), Just(1.0), Just(f64::MAX), any::<f64>()],
        jitter in ratios(),
        (entries, bytes) in (sizes(), sizes()),
        seed in any::<u64>(),
    ) -> Cache {
        Cache::new(ttl)
            .negative_ttl(negative)
            .stale_while_revalidate(while_revalidate)
            .stale_if_error(if_error)
            .refresh_timeout(refresh_timeout)
            .refresh_backoff(backoff)
            .early_refresh(EarlyRefresh::new(beta))
            .jitter(jitter)
            .max_entries(entries)
            .max_bytes(bytes)
            .seed(seed)
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(u32),
    Does(Does),
    Advance(Duration),
    Forget(u32),
}

fn steps() -> impl Strategy<Value = Step> {
    let does = prop_oneof![
        Just(Does::Answer),
        Just(Does::Fail(TestError::NotFound)),
        Just(Does::Fail(TestError::Failed)),
        Just(Does::Panic),
    ];
    // Timers do not support a clock that was advanced by hundreds of years.
    let passed = prop_oneof![Just(ms(1)), (0..200_000_u64).prop_map(ms), Just(ms(1 << 36))];
    prop_oneof![
        5 => (0..4_u32).prop_map(Step::Get),
        2 => does.prop_map(Step::Does),
        2 => passed.prop_map(Step::Advance),
        1 => (0..4_u32).prop_map(Step::Forget),
    ]
}

fn classify(outcome: Result<&u32, &TestError>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Success,
        Err(TestError::NotFound) => Verdict::Permanent,
        Err(_) => Verdict::Transient,
    }
}

proptest! {
    #![proptest_config(Config { cases: 500, failure_persistence: None, ..Config::default() })]

    #[test]
    fn calls_end_and_limits_hold_with_any_options(
        cache in caches(),
        (entries, bytes) in (sizes(), sizes()),
        steps in prop::collection::vec(steps(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let cache = cache.max_entries(entries).max_bytes(bytes);
            let layer = DedupLayer::new().cache(cache.classify(classify)).share_errors();
            let cached = Cached::over(Source::at_once(), &layer);
            for step in steps {
                match step {
                    Step::Get(key) => {
                        let outcome = tokio::time::timeout(ms(1_000), cached.get(key)).await;
                        assert!(outcome.is_ok(), "the call hangs");
                    }
                    Step::Does(does) => cached.source.does(does),
                    Step::Advance(passed) => advance(passed).await,
                    Step::Forget(key) => {
                        cached.handle.invalidate(&key);
                    }
                }
                assert!(cached.handle.cache_entries() <= entries);
                assert!(cached.handle.cache_bytes() <= bytes as u64);
            }
            sleep(ms(1)).await;
            assert_eq!(cached.handle.in_flight(), 0);
            assert_eq!(cached.handle.waiters(), 0);
            assert_eq!(cached.source.live(), 0);
        });
    }
}

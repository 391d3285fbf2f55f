//! Keys, sharing and lifetimes in the mode `Plain`.

use std::{sync::Arc, thread, time::Duration};

use buttress_core::{Age, ByteBudget, Expire, KeyOf, Lifetime, Plain, Progress, Reader, Share};
use tokio::time::Instant;

#[test]
fn byte_budget_never_gives_more_than_is_left() {
    let budget = ByteBudget::new(10);
    assert!(budget.try_take(7));
    assert!(!budget.try_take(4));
    assert_eq!(budget.remaining(), 3, "nothing is taken where not all is there");
    assert!(budget.try_take(3));
    assert!(budget.try_take(0));
    assert!(!budget.try_take(1));
    assert!(!budget.try_take(usize::MAX));
    budget.give_back(7);
    assert_eq!(budget.remaining(), 7);
}

#[test]
fn threads_never_take_more_than_the_byte_budget() {
    let budget = ByteBudget::new(1_000);
    let taken: usize = thread::scope(|scope| {
        let take = || (0..1_000).filter(|_| budget.try_take(3)).count() * 3;
        let threads = [(); 4].map(|()| scope.spawn(take));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, 999);
    assert_eq!(budget.remaining(), 1);
}

#[test]
fn byte_budget_is_whole_after_all_threads_gave_back() {
    let budget = ByteBudget::new(10);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    if budget.try_take(4) {
                        assert!(budget.remaining() <= 6);
                        budget.give_back(4);
                    }
                }
            });
        }
    });
    assert_eq!(budget.remaining(), 10);
}

#[test]
fn key_is_the_request_or_the_result_of_a_closure() {
    assert_eq!(Plain.key(&"same"), Some("same"));
    let even = |request: &u32| request.is_multiple_of(2).then_some(*request / 2);
    assert_eq!(even.key(&8), Some(4));
    assert_eq!(even.key(&7), None);
    assert_eq!(even.resource(&4), None);
    assert_eq!(even.invalidates(&8), None);
}

#[test]
fn plain_response_is_complete_and_takes_no_bytes() {
    let budget = Arc::new(ByteBudget::new(0));
    let shared = Plain.share(String::from("one"), &budget).unwrap();
    let age = Age::new(Duration::ZERO, Instant::now());
    let kept = Reader::cached(age, true);
    for reader in [Reader::Leader, Reader::Follower, kept] {
        assert_eq!(Share::<String>::restore(&Plain, &shared, reader), "one");
    }
    assert_eq!(Share::<String>::progress(&Plain, &shared), Progress::Complete);
    assert_eq!(Share::<String>::for_cache(&Plain, &shared), "one");
    assert_eq!(Plain.own(String::from("other")), "other");
}

#[test]
fn plain_response_has_the_lifetime_of_the_layer() {
    let asked = Lifetime::new(Duration::from_secs(1));
    let lifetime = |asked| Expire::<u32, u32>::lifetime(&Plain, &(), &7, asked);
    assert_eq!(lifetime(Some(asked)), Some(asked));
    assert_eq!(lifetime(None), None);
}

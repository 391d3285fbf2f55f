//! What makes requests the same, and how a response is shared, in the mode without a protocol.

use std::{sync::Arc, thread, time::Duration};

use buttress_core::{Age, ByteBudget, Expire, KeyOf, Lifetime, Plain, Progress, Reader, Share};
use tokio::time::Instant;

#[test]
fn an_allowance_gives_what_is_left_and_never_more() {
    let allowance = ByteBudget::new(10);
    assert!(allowance.try_take(7));
    assert!(!allowance.try_take(4));
    assert_eq!(allowance.remaining(), 3, "nothing is taken where not all is there");
    assert!(allowance.try_take(3));
    assert!(allowance.try_take(0));
    assert!(!allowance.try_take(1));
    assert!(!allowance.try_take(usize::MAX));
    allowance.give_back(7);
    assert_eq!(allowance.remaining(), 7);
}

#[test]
fn threads_together_take_no_more_than_there_is() {
    let allowance = ByteBudget::new(1_000);
    let taken: usize = thread::scope(|scope| {
        let take = || (0..1_000).filter(|_| allowance.try_take(3)).count() * 3;
        let threads = [(); 4].map(|()| scope.spawn(take));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, 999);
    assert_eq!(allowance.remaining(), 1);
}

#[test]
fn threads_that_give_back_what_they_took_leave_all_of_it() {
    let allowance = ByteBudget::new(10);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    if allowance.try_take(4) {
                        assert!(allowance.remaining() <= 6);
                        allowance.give_back(4);
                    }
                }
            });
        }
    });
    assert_eq!(allowance.remaining(), 10);
}

#[test]
fn a_request_is_its_own_key_or_has_that_of_a_closure() {
    assert_eq!(Plain.key(&"same"), Some("same"));
    let even = |request: &u32| request.is_multiple_of(2).then_some(*request / 2);
    assert_eq!(even.key(&8), Some(4));
    assert_eq!(even.key(&7), None);
    assert_eq!(even.resource(&4), None);
    assert_eq!(even.invalidates(&8), None);
}

#[test]
fn a_response_is_shared_whole_and_holds_nothing_of_the_allowance() {
    let allowance = Arc::new(ByteBudget::new(0));
    let shared = Plain.share(String::from("one"), &allowance).unwrap();
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
fn a_response_that_has_no_say_is_kept_for_as_long_as_was_asked() {
    let asked = Lifetime::new(Duration::from_secs(1));
    let lifetime = |asked| Expire::<u32, u32>::lifetime(&Plain, &(), &7, asked);
    assert_eq!(lifetime(Some(asked)), Some(asked));
    assert_eq!(lifetime(None), None);
}

//! What makes requests the same, and how a response is shared, in the mode without a protocol.

use std::{sync::Arc, thread, time::Duration};

use buttress_core::{Age, Allowance, Expire, KeyOf, Lifetime, Plain, Progress, Reader, Share};
use tokio::time::Instant;

#[test]
fn an_allowance_gives_what_is_left_and_never_more() {
    let allowance = Allowance::new(10);
    assert!(allowance.take(7));
    assert!(!allowance.take(4));
    assert_eq!(allowance.left(), 3, "nothing is taken where not all is there");
    assert!(allowance.take(3));
    assert!(allowance.take(0));
    assert!(!allowance.take(1));
    assert!(!allowance.take(usize::MAX));
    allowance.give_back(7);
    assert_eq!(allowance.left(), 7);
}

#[test]
fn threads_together_take_no_more_than_there_is() {
    let allowance = Allowance::new(1_000);
    let taken: usize = thread::scope(|scope| {
        let take = || (0..1_000).filter(|_| allowance.take(3)).count() * 3;
        let threads = [(); 4].map(|()| scope.spawn(take));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((taken, allowance.left()), (999, 1));
}

#[test]
fn threads_that_give_back_what_they_took_leave_all_of_it() {
    let allowance = Allowance::new(10);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    if allowance.take(4) {
                        assert!(allowance.left() <= 6);
                        allowance.give_back(4);
                    }
                }
            });
        }
    });
    assert_eq!(allowance.left(), 10);
}

#[test]
fn a_request_is_its_own_key_or_has_that_of_a_closure() {
    assert_eq!(Plain.key(&"same"), Some("same"));
    let even = |request: &u32| request.is_multiple_of(2).then_some(*request / 2);
    assert_eq!((even.key(&8), even.key(&7)), (Some(4), None));
    assert_eq!((even.subject(&4), even.changes(&8)), (None, None));
}

#[test]
fn a_response_is_shared_whole_and_holds_nothing_of_the_allowance() {
    let allowance = Arc::new(Allowance::new(0));
    let shared = Plain.share(String::from("one"), &allowance).unwrap();
    let age = Age::new(Duration::ZERO, Instant::now());
    let kept = Reader::Kept { age, stale: true };
    for reader in [Reader::First, Reader::Later, kept] {
        assert_eq!(Share::<String>::restore(&Plain, &shared, reader), "one");
    }
    assert_eq!(Share::<String>::progress(&Plain, &shared), Progress::Whole);
    assert_eq!(Share::<String>::keep(&Plain, &shared), "one");
    assert_eq!(Plain.own(String::from("other")), "other");
}

#[test]
fn a_response_that_has_no_say_is_kept_for_as_long_as_was_asked() {
    let asked = Lifetime { fresh: Duration::from_secs(1), ..Lifetime::default() };
    let lifetime = |asked| Expire::<u32, u32>::lifetime(&Plain, &(), &7, asked);
    assert_eq!((lifetime(Some(asked)), lifetime(None)), (Some(asked), None));
}

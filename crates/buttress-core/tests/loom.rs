//! The relay under the interleavings of three threads:
//! `RUSTFLAGS="--cfg buttress_loom" cargo test -p buttress-core --test loom --release`.
#![cfg(buttress_loom)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here has failed the test")]

use std::{
    future::poll_fn,
    task::{Context, Poll, Wake, Waker},
};

use buttress_core::{Ambient, Criticality, Driven, Join, MemberId, Relay, WatchdogHost};
use loom::{
    future::block_on,
    model::Builder,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

/// Work that publishes one result per feed.
#[derive(Clone, Default)]
struct Feed {
    fed: Arc<AtomicUsize>,
    published: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

struct Work {
    feed: Feed,
    last: usize,
}

impl Work {
    fn drive(&mut self) -> Driven {
        let Feed { fed, published, dropped } = &self.feed;
        assert_eq!(dropped.load(SeqCst), 0, "driven after its end");
        let now = published.load(SeqCst);
        if fed.load(SeqCst) == now {
            return Driven::Pending;
        }
        published.store(now + 1, SeqCst);
        if now + 1 == self.last { Driven::Done } else { Driven::More }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.feed.dropped.fetch_add(1, SeqCst);
    }
}

/// The relay of work that ends when it was fed so often.
#[derive(Clone)]
struct Shared {
    relay: Arc<Relay<Work>>,
    feed: Feed,
}

impl Shared {
    fn new(last: usize) -> (Self, MemberId) {
        let feed = Feed::default();
        let (relay, id) = Relay::new(Work { feed: feed.clone(), last }, AMBIENT);
        (Self { relay: Arc::new(relay), feed }, id)
    }

    fn member(&self) -> MemberId {
        match self.relay.join(AMBIENT) {
            Join::Member(id) => id,
            entry => panic!("{entry:?}"),
        }
    }

    fn feed(&self) {
        self.feed.fed.fetch_add(1, SeqCst);
        self.relay.wake_driver();
    }

    fn poll(&self, id: MemberId, known: usize, cx: &mut Context<'_>) -> Poll<()> {
        let known = u64::try_from(known).unwrap();
        self.relay.poll(id, known, cx, |work, _| work.drive())
    }

    /// Waits for one result after the other, until this many are known.
    fn read(&self, id: MemberId, until: usize) {
        for known in 0..until {
            block_on(poll_fn(|cx| self.poll(id, known, cx)));
            assert!(self.feed.published.load(SeqCst) > known, "woken without a result");
        }
    }

    /// Polls once as a task of its own that ignores wake-ups.
    fn poll_once(&self, id: MemberId) {
        let waker = Waker::from(std::sync::Arc::new(Deaf));
        let _ = self.poll(id, 0, &mut Context::from_waker(&waker));
    }

    fn dropped(&self) -> usize {
        self.feed.dropped.load(SeqCst)
    }
}

struct Deaf;

impl Wake for Deaf {
    fn wake(self: std::sync::Arc<Self>) {}
}

const AMBIENT: Ambient = Ambient::new(None, Criticality::Critical);

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

#[test]
fn two_waiting_members_both_see_the_end() {
    model(|| {
        let (shared, one) = Shared::new(1);
        let other = shared.member();
        let waiting = [one, other].map(|id| {
            let shared = shared.clone();
            thread::spawn(move || shared.read(id, 1))
        });
        shared.feed();
        for thread in waiting {
            thread.join().unwrap();
        }
        assert_eq!(shared.dropped(), 1);
    });
}

#[test]
fn leave_during_a_wake_up_passes_the_wake_up_on() {
    model(|| {
        let (shared, leaving) = Shared::new(1);
        let waiting = shared.member();
        let threads = (shared.clone(), shared.clone());
        let leaving = thread::spawn(move || {
            threads.0.poll_once(leaving);
            threads.0.relay.leave(leaving);
        });
        let waiting = thread::spawn(move || threads.1.read(waiting, 1));
        shared.feed();
        leaving.join().unwrap();
        waiting.join().unwrap();
        assert_eq!(shared.dropped(), 1);
        assert_eq!(shared.relay.members(), 1);
    });
}

#[test]
fn two_woken_members_that_leave_pass_the_wake_up_on() {
    model(|| {
        let (shared, one) = Shared::new(1);
        let (other, waiting) = (shared.member(), shared.member());
        let threads = (shared.clone(), shared.clone());
        let one = thread::spawn(move || {
            threads.0.poll_once(one);
            threads.0.feed();
            threads.0.relay.leave(one);
        });
        let other = thread::spawn(move || {
            threads.1.poll_once(other);
            threads.1.relay.leave(other);
        });
        shared.read(waiting, 1);
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(shared.dropped(), 1);
        assert_eq!(shared.relay.members(), 1);
    });
}

#[test]
fn woken_member_that_is_not_polled_delays_no_other() {
    model(|| {
        let (shared, idle) = Shared::new(1);
        let waiting = shared.member();
        let threads = (shared.clone(), shared.clone());
        let idle = thread::spawn(move || threads.0.poll_once(idle));
        let waiting = thread::spawn(move || threads.1.read(waiting, 1));
        shared.feed();
        idle.join().unwrap();
        waiting.join().unwrap();
        assert_eq!(shared.dropped(), 1);
        assert_eq!(shared.relay.members(), 2);
    });
}

#[test]
fn join_during_the_end_sees_the_end() {
    model(|| {
        let (shared, first) = Shared::new(1);
        let threads = (shared.clone(), shared.clone());
        let driving = thread::spawn(move || threads.0.read(first, 1));
        let joining = thread::spawn(move || {
            let id = threads.1.member();
            threads.1.read(id, 1);
        });
        shared.feed();
        driving.join().unwrap();
        joining.join().unwrap();
        assert_eq!(shared.dropped(), 1);
    });
}

#[test]
fn join_during_the_last_leave_is_closed_or_finds_live_work() {
    model(|| {
        let (shared, last) = Shared::new(1);
        let threads = (shared.clone(), shared.clone());
        shared.feed.fed.store(1, SeqCst);
        let leaving = thread::spawn(move || threads.0.relay.leave(last));
        let joining = thread::spawn(move || match threads.1.relay.join(AMBIENT) {
            Join::Member(id) => {
                assert_eq!(threads.1.dropped(), 0);
                threads.1.read(id, 1);
                threads.1.relay.leave(id)
            }
            Join::Closed => false,
            Join::Reentrant => panic!("no member drives on this thread"),
        });
        shared.relay.wake_driver();
        let last = [leaving.join().unwrap(), joining.join().unwrap()];
        assert!(
            matches!(last, [true, false] | [false, true]),
            "one of them was the last: {last:?}"
        );
        assert_eq!(shared.dropped(), 1);
        assert_eq!(shared.relay.members(), 0);
    });
}

#[test]
fn slower_member_misses_no_result() {
    model(|| {
        let (shared, fast) = Shared::new(2);
        let slow = shared.member();
        let threads = (shared.clone(), shared.clone());
        let fast = thread::spawn(move || threads.0.read(fast, 2));
        let slow = thread::spawn(move || {
            thread::yield_now();
            threads.1.read(slow, 2);
        });
        shared.feed();
        shared.feed();
        fast.join().unwrap();
        slow.join().unwrap();
        assert_eq!(shared.dropped(), 1);
    });
}

/// The owner of the relay.
struct Host(Shared);

impl WatchdogHost for Host {
    fn on_watchdog(&self) {
        self.0.relay.wake_if_stalled();
    }
}

#[test]
fn watchdog_wakes_members_that_find_the_work() {
    model(|| {
        let (shared, driver) = Shared::new(1);
        let (waiting, deputy) = (shared.member(), shared.member());
        let host = std::sync::Arc::new(Host(shared.clone()));
        for id in [driver, waiting, deputy] {
            shared.relay.start_watchdog(id, &host);
        }
        shared.poll_once(driver);
        let threads = (shared.clone(), shared.clone());
        let waits = thread::spawn(move || threads.0.read(waiting, 1));
        let idle = thread::spawn(move || threads.1.poll_once(deputy));
        shared.feed();
        // The time of the woken members is over.
        host.on_watchdog();
        waits.join().unwrap();
        idle.join().unwrap();
        assert_eq!(shared.dropped(), 1);
        assert_eq!(shared.relay.members(), 3);
    });
}

#[test]
fn members_woken_by_the_watchdog_see_the_end_of_the_work() {
    model(|| {
        let (shared, driver) = Shared::new(1);
        let (waiting, deputy) = (shared.member(), shared.member());
        let host = std::sync::Arc::new(Host(shared.clone()));
        for id in [driver, waiting, deputy] {
            shared.relay.start_watchdog(id, &host);
        }
        shared.poll_once(waiting);
        shared.poll_once(deputy);
        let threads = (shared.clone(), std::sync::Arc::clone(&host));
        let drives = thread::spawn(move || threads.0.read(driver, 1));
        let watchdog = thread::spawn(move || threads.1.on_watchdog());
        shared.feed();
        drives.join().unwrap();
        watchdog.join().unwrap();
        assert_eq!(shared.dropped(), 1);
        assert_eq!(shared.relay.members(), 3);
    });
}

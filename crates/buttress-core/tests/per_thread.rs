//! Values with a copy for each thread.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use buttress_core::PerThread;

#[test]
fn thread_gets_the_same_copy_each_time() {
    let value = PerThread::new();
    let first = Arc::clone(value.get_or_make(|| 1));
    let second = value.get_or_make(|| unreachable!("the copy is there"));
    assert!(Arc::ptr_eq(&first, second));
    assert_eq!(***second, 1);
}

#[test]
fn value_has_no_copy_and_allocates_nothing_before_the_first_use() {
    let allocated = allocation_counter::measure(|| {
        let value = PerThread::<[u64; 100]>::new();
        assert_eq!(value.copies().count(), 0);
    });
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn thread_that_asks_alone_makes_a_single_copy() {
    let value = PerThread::<AtomicU64>::new();
    for _ in 0..10 {
        value.get_or_make(AtomicU64::default).fetch_add(1, Ordering::Relaxed);
    }
    let counts: Vec<_> = value.copies().map(|copy| copy.load(Ordering::Relaxed)).collect();
    assert_eq!(counts, [10]);
}

#[test]
fn many_threads_make_eight_copies_that_sum_up_to_all_counts() {
    let (value, together) = (PerThread::<AtomicU64>::new(), Barrier::new(THREADS));
    let count = || {
        // All at once, so that threads that share a copy also race to make it.
        together.wait();
        let mut own = HashSet::new();
        for _ in 0..100 {
            let copy = value.get_or_make(AtomicU64::default);
            copy.fetch_add(1, Ordering::Relaxed);
            own.insert(Arc::as_ptr(copy).addr());
        }
        assert_eq!(own.len(), 1, "a thread changed its copy");
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(count);
        }
    });
    assert_eq!(value.copies().count(), 8);
    let sum: u64 = value.copies().map(|copy| copy.load(Ordering::Relaxed)).sum();
    assert_eq!(sum, 100 * THREADS as u64);
}

#[test]
fn copies_lie_apart_from_each_other() {
    let value = PerThread::new();
    let copy = value.get_or_make(|| 1_u8);
    assert_eq!(align_of_val(&**copy), 128);
}

#[test]
fn next_call_makes_the_copy_if_the_first_panics() {
    let value = PerThread::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        value.get_or_make(|| panic!("no copy"));
    }));
    assert!(panicked.is_err());
    assert_eq!(value.copies().count(), 0);
    assert_eq!(***value.get_or_make(|| 7), 7);
}

/// Threads get their numbers in order, so this many have all 8 remainders, also beside the threads
/// of the other tests.
const THREADS: usize = 64;

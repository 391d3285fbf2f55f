//! The key table under the interleavings of up to three threads:
//! `RUSTFLAGS="--cfg buttress_loom" cargo test -p buttress-state --test loom --release`.
#![cfg(buttress_loom)]
#![expect(clippy::unwrap_used, reason = "a thread that panicked has failed the test")]

use buttress_state::{
    Fresh, KeyTable, Total,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};
use loom::{model::Builder, thread};
use std::sync::Arc;

/// A value of which at most one may be in use per key.
struct Value {
    running: AtomicU32,
    counted: AtomicU32,
    setting: AtomicU32,
}

impl Value {
    fn new(setting: u32) -> Self {
        let [running, counted] = [(); 2].map(|()| AtomicU32::new(0));
        Self { running, counted, setting: AtomicU32::new(setting) }
    }
}

impl Fresh for Value {
    fn fresh(&self) -> Self {
        Self::new(self.setting.load(SeqCst))
    }

    fn is_idle(&self) -> bool {
        // A read-modify-write, which sees the latest value. Loom does not know that the drop of an
        // `Arc` happens before `is_only`.
        self.running.fetch_add(0, SeqCst) == 0
    }
}

#[derive(Default)]
struct Counted(u32);

impl Total<Value> for Counted {
    fn add(&mut self, value: &Value) {
        self.0 += value.counted.load(SeqCst);
    }

    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }
}

type Table = KeyTable<Box<str>, Value, Counted>;

/// Explores with up to two preemptions.
fn explore(f: impl Fn(Arc<Table>) + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || f(Arc::new(Table::new(Value::new(1), 64))));
}

/// Uses a key for a moment, as a call does that leaves its mark in the value.
fn use_key(table: &Table, key: &str) {
    let value = table.get_by(key, Box::from);
    value.running.fetch_add(1, SeqCst);
    value.counted.fetch_add(1, SeqCst);
    drop(value);
    let value = table.known(key).unwrap();
    assert_eq!(value.running.fetch_sub(1, SeqCst), 1);
}

#[test]
fn key_that_is_made_by_two_threads_has_a_single_value() {
    explore(|table| {
        let other = Arc::clone(&table);
        let other = thread::spawn(move || other.get_by("key", Box::from));
        let one = table.get("key".into());
        assert!(Arc::ptr_eq(&one, &other.join().unwrap()));
    });
}

#[test]
fn key_in_use_is_not_swept() {
    explore(|table| {
        let sweeping = Arc::clone(&table);
        let sweeping = thread::spawn(move || sweeping.len());
        use_key(&table, "key");
        assert!(sweeping.join().unwrap() <= 1);
        assert_eq!(table.len(), 0);
    });
}

#[test]
fn change_reaches_a_key_that_is_being_made() {
    explore(|table| {
        let making = Arc::clone(&table);
        let making = thread::spawn(move || making.get("key".into()));
        table.change(|value| value.setting.store(2, SeqCst));
        assert_eq!(making.join().unwrap().setting.load(SeqCst), 2);
    });
}

#[test]
fn total_never_misses_a_key_that_is_being_swept() {
    explore(|table| {
        use_key(&table, "key");
        let sweeping = Arc::clone(&table);
        let sweeping = thread::spawn(move || sweeping.len());
        assert_eq!(table.total().0, 1);
        assert_eq!(sweeping.join().unwrap(), 0);
        assert_eq!(table.total().0, 1);
    });
}

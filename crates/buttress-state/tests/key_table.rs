//! The table of keys: which keys stay, what runs outside of its locks, and lookups by a borrowed key.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

use buttress_state::{Fresh, KeyTable, Total, sync::lock};
use proptest::prelude::*;

/// Calls of a key, and the limit that they have.
#[derive(Debug, Default)]
struct Calls {
    running: AtomicU32,
    counted: AtomicU32,
    limit: AtomicU32,
}

impl Calls {
    fn run(&self) {
        self.running.fetch_add(1, SeqCst);
        self.counted.fetch_add(1, SeqCst);
    }

    fn end(&self) {
        self.running.fetch_sub(1, SeqCst);
    }
}

impl Fresh for Calls {
    fn fresh(&self) -> Self {
        Self { limit: AtomicU32::new(self.limit.load(SeqCst)), ..Self::default() }
    }

    fn is_idle(&self) -> bool {
        self.running.load(SeqCst) == 0
    }
}

/// The number of calls of all keys.
#[derive(Default)]
struct Counted(u32);

impl Total<Calls> for Counted {
    fn add(&mut self, calls: &Calls) {
        self.0 += calls.counted.load(SeqCst);
    }

    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }
}

fn table<K: Hash + Eq>(max_keys: usize) -> KeyTable<K, Calls> {
    KeyTable::new(Calls::default(), max_keys)
}

#[test]
fn key_is_dropped_when_its_value_is_idle() {
    let table = table(1000);
    let calls = table.get(7);
    assert_eq!(table.len(), 1, "the value is held");
    calls.run();
    drop(calls);
    assert_eq!(table.len(), 1, "a call runs");
    table.known(&7).unwrap().end();
    assert_eq!(table.len(), 0);
    assert!(table.is_empty());
    assert!(table.known(&7).is_none());
}

#[test]
fn keys_in_use_are_listed() {
    let table = table(1000);
    let held: Vec<_> = (0..50).map(|key| table.get(key)).collect();
    table.get(50);
    let mut keys = table.keys();
    keys.sort_unstable();
    assert_eq!(keys, (0..50).collect::<Vec<_>>());
    drop(held);
    assert!(table.keys().is_empty());
}

#[test]
fn keys_beyond_the_maximum_share_a_value() {
    let table = table(0);
    let (one, other) = (table.get(1), table.get(2));
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(table.len(), 0);
    assert!(!table.is_idle(), "a shared value is in use");
    drop((one, other));
    assert!(table.is_idle());
}

/// A value whose keys beyond the maximum are remembered.
struct Shared(Arc<AtomicU32>);

impl Fresh for Shared {
    fn fresh(&self) -> Self {
        Self(Arc::default())
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn share(shared: &Arc<Self>) -> Option<Self> {
        Some(Self(Arc::clone(&shared.0)))
    }
}

/// The sum over all values, which counts a value once for each time it is added.
#[derive(Default)]
struct Sum(u32);

impl Total<Shared> for Sum {
    fn add(&mut self, value: &Shared) {
        self.0 += value.0.load(SeqCst);
    }

    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }
}

#[test]
fn key_beyond_the_maximum_keeps_the_shared_value_while_a_call_holds_it() {
    let table = KeyTable::<u32, Shared, Sum>::new(Shared(Arc::default()), 16);
    let others: Vec<_> = (1000..1400).map(|key| table.get(key)).collect();
    assert_eq!(table.len(), 16);
    let held = table.get(1);
    held.0.fetch_add(1, SeqCst);
    drop(others);
    assert!(table.is_empty(), "keys that share a value are not counted");
    assert!(Arc::ptr_eq(&table.get(1).0, &held.0));
    assert!(table.known(&1).is_some_and(|known| Arc::ptr_eq(&known.0, &held.0)));
    assert!(!Arc::ptr_eq(&table.get(2).0, &held.0), "there is room for other keys");
    assert_eq!(table.total().0, 1, "the shared value counts once");
    assert_eq!(table.fold(0, |sum, value| sum + value.0.load(SeqCst)), 1);
    let shared = Arc::clone(&held.0);
    drop(held);
    assert!(table.known(&1).is_none());
    let own = table.get(1);
    assert!(!Arc::ptr_eq(&own.0, &shared), "there is room for the key now");
    assert_eq!(table.keys(), [1]);
    drop(own);
    assert!(table.is_empty() && table.is_idle());
    assert_eq!(table.total().0, 1);
}

#[test]
fn flood_of_keys_beyond_the_maximum_is_forgotten() {
    let drops = Arc::new(());
    let table = KeyTable::<(u32, Arc<()>), Shared>::new(Shared(Arc::default()), 16);
    let _held: Vec<_> = (0..400).map(|key| table.get((key, Arc::clone(&drops)))).collect();
    let before = Arc::strong_count(&drops);
    for key in 400..100_000 {
        drop(table.get((key, Arc::clone(&drops))));
    }
    let kept = Arc::strong_count(&drops) - before;
    assert!(kept < 2000, "{kept} keys are kept");
    // The held keys are found again.
    for key in 0..400 {
        table.get((key, Arc::clone(&drops)));
    }
    assert_eq!(table.len(), 16);
}

#[test]
fn borrowed_key_is_owned_once() {
    let table = table::<Arc<str>>(1000);
    let owned = AtomicU32::new(0);
    let get = |key: &str| {
        table.get_by(key, |key| {
            owned.fetch_add(1, SeqCst);
            Arc::from(key)
        })
    };
    let first = get("db-1:80");
    assert!(Arc::ptr_eq(&first, &get("db-1:80")));
    assert!(Arc::ptr_eq(&first, &table.get(Arc::from("db-1:80"))));
    assert!(Arc::ptr_eq(&first, &table.known("db-1:80").unwrap()));
    assert_eq!(owned.load(SeqCst), 1);
    assert!(!Arc::ptr_eq(&first, &get("db-2:80")));
    assert_eq!(owned.load(SeqCst), 2);
}

#[test]
fn listed_key_is_the_stored_one() {
    let table = table::<Arc<str>>(1000);
    let _held = table.get_by("db-1", Arc::from);
    let [one, other] = [table.keys(), table.keys()].map(|keys| keys.into_iter().next().unwrap());
    assert!(Arc::ptr_eq(&one, &other));
}

#[test]
fn change_reaches_the_keys_in_use_and_those_to_come() {
    let table = table(16);
    let used = table.get(0);
    table.change(|calls| calls.limit.store(5, SeqCst));
    assert_eq!(used.limit.load(SeqCst), 5);
    assert_eq!(table.template().limit.load(SeqCst), 5);
    let held: Vec<_> = (1..100).map(|key| table.get(key)).collect();
    assert!(held.iter().all(|calls| calls.limit.load(SeqCst) == 5));
    let limits = table.fold(0, |sum, calls| sum + calls.limit.load(SeqCst));
    assert_eq!(
        u32::try_from(table.len()).unwrap() * 5 + 5,
        limits,
        "the shared value is folded too"
    );
}

#[test]
fn total_counts_dropped_keys() {
    let table = KeyTable::<u32, Calls, Counted>::new(Calls::default(), 100);
    for key in 0..10_000 {
        let calls = table.get(key % 3000);
        calls.run();
        calls.end();
        assert_eq!(table.total().0, key + 1);
    }
    assert_eq!(table.len(), 0);
    assert_eq!(table.total().0, 10_000);
}

#[test]
fn idle_keys_are_swept_while_new_keys_come() {
    let alive = Arc::new(());
    let table = KeyTable::<Probe, Calls>::new(Calls::default(), 65_536);
    let mut most = 0;
    for number in 0..100_000 {
        table.get(Probe::new(number, &alive));
        most = most.max(Arc::strong_count(&alive));
    }
    assert!((1..5_000).contains(&most), "{most} keys at once");
}

#[test]
fn idle_keys_are_swept_while_calls_find_known_keys() {
    let alive = Arc::new(());
    let table = KeyTable::<Probe, Calls>::new(Calls::default(), 65_536);
    let keys: Vec<_> = (0..1000).map(|number| Probe::new(number, &alive)).collect();
    for key in &keys {
        table.get(Probe::new(key.0, &alive));
    }
    let own = keys.len() + 1;
    assert_eq!(Arc::strong_count(&alive), own + 1000);
    // Each shard has a key that stays in use.
    for _ in 0..200 {
        for key in keys.iter().take(200) {
            table.find(key);
        }
    }
    let left = Arc::strong_count(&alive) - own;
    assert!((1..=200).contains(&left), "{left} keys are left");
}

/// The keys that found room in a small table.
fn placed(seed: u64) -> Vec<u32> {
    fastrand::seed(seed);
    let table = table(32);
    let _held: Vec<_> = (0..200_u32).map(|key| table.get(key)).collect();
    let mut keys = table.keys();
    keys.sort_unstable();
    keys
}

#[test]
fn seeded_generator_repeats_the_places_of_keys() {
    assert_eq!(placed(7), placed(7));
    assert_ne!(placed(7), placed(8));
}

/// A key that does something when it is compared, cloned or dropped.
#[derive(Debug)]
struct Probe(u32, Arc<()>, Option<Arc<Trap>>);

#[derive(Debug, Default)]
struct Trap {
    table: OnceLock<Weak<KeyTable<Probe, Calls>>>,
    panics: AtomicBool,
}

impl Probe {
    fn new(number: u32, alive: &Arc<()>) -> Self {
        Self(number, Arc::clone(alive), None)
    }

    fn trapped(number: u32, trap: &Arc<Trap>) -> Self {
        Self(number, Arc::default(), Some(Arc::clone(trap)))
    }

    fn spring(&self) {
        let panics = self.2.as_ref().is_some_and(|trap| trap.panics.load(SeqCst));
        assert!(!panics, "a key panics");
    }
}

impl PartialEq for Probe {
    fn eq(&self, other: &Self) -> bool {
        self.spring();
        self.0 == other.0
    }
}

impl Eq for Probe {}

impl Hash for Probe {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        self.spring();
        Self(self.0, Arc::clone(&self.1), self.2.clone())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let table = self.2.as_ref().and_then(|trap| trap.table.get()?.upgrade());
        if let Some(table) = table {
            // Deadlocks if a lock of the table is held.
            table.fold((), |(), _| ());
        }
    }
}

#[test]
fn key_that_asks_the_table_in_its_drop_holds_no_lock() {
    let (table, trap) = (Arc::new(table(16)), Arc::<Trap>::default());
    trap.table.set(Arc::downgrade(&table)).unwrap();
    for number in 0..1000 {
        table.get(Probe::trapped(number, &trap));
    }
    assert_eq!(table.keys().len(), 0);
    table.get(Probe::trapped(0, &trap));
    assert_eq!(table.len(), 0);
}

#[test]
fn owner_of_a_borrowed_key_may_ask_the_table() {
    let table = table::<Arc<str>>(16);
    let value = table.get_by("one", |key| {
        table.get(Arc::from("other"));
        table.get(Arc::from(key));
        Arc::from(key)
    });
    assert!(Arc::ptr_eq(&value, &table.known("one").unwrap()));
}

#[test]
fn table_stays_usable_when_a_key_panics() {
    let (table, trap) = (table(16), Arc::<Trap>::default());
    let held = table.get(Probe::trapped(1, &trap));
    trap.panics.store(true, SeqCst);
    let compared = catch_unwind(AssertUnwindSafe(|| table.get(Probe::trapped(1, &trap))));
    let cloned = catch_unwind(AssertUnwindSafe(|| table.keys()));
    assert!(compared.is_err() && cloned.is_err());
    trap.panics.store(false, SeqCst);
    assert!(Arc::ptr_eq(&held, &table.get(Probe::trapped(1, &trap))));
    assert_eq!(table.keys().len(), 1);
    drop(held);
    assert_eq!(table.len(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(u8),
    GetBy(u8),
    Release(u8),
    Count,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40_u8).prop_map(Step::Get),
        4 => (0..40_u8).prop_map(Step::GetBy),
        8 => (0..40_u8).prop_map(Step::Release),
        1 => Just(Step::Count),
    ]
}

proptest! {
    /// A key that is held has a single value, and the keys that are held are those of the table.
    #[test]
    fn held_key_keeps_its_value(steps in prop::collection::vec(step(), 0..400)) {
        let table = table::<Box<str>>(1 << 20);
        let mut held = HashMap::new();
        for step in steps {
            match step {
                Step::Get(key) | Step::GetBy(key) => {
                    let text = key.to_string();
                    let value = match step {
                        Step::Get(_) => table.get(text.into()),
                        _ => table.get_by(&*text, Box::from),
                    };
                    let known = held.entry(key).or_insert_with(|| Arc::clone(&value));
                    prop_assert!(Arc::ptr_eq(known, &value));
                }
                Step::Release(key) => drop(held.remove(&key)),
                Step::Count => prop_assert_eq!(table.len(), held.len()),
            }
        }
        let mut keys: Vec<u8> = table.keys().iter().map(|key| key.parse().unwrap()).collect();
        let mut expected: Vec<u8> = held.into_keys().collect();
        keys.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(keys, expected);
    }
}

/// Holds values of random keys, more than fit, and checks that all holders of a key have the same.
fn hold_keys(table: &KeyTable<u32, Shared>, held: &Mutex<HashMap<u32, Vec<Arc<AtomicU32>>>>) {
    let mut own = Vec::new();
    for _ in 0..3000 {
        let key = fastrand::u32(..40);
        let value = table.get(key);
        let state = Arc::clone(&value.0);
        let mut all = lock(held);
        let others = all.entry(key).or_default();
        assert!(others.iter().all(|other| Arc::ptr_eq(other, &state)), "two values of a key");
        others.push(state);
        drop(all);
        own.push((key, value));
        while own.len() > fastrand::usize(..12) {
            let (key, value) = own.swap_remove(fastrand::usize(..own.len()));
            let mut held = lock(held);
            held.entry(key).or_default().pop();
            drop(value);
        }
    }
    for (key, _) in &own {
        lock(held).entry(*key).or_default().pop();
    }
}

#[test]
fn key_has_one_value_at_a_time_on_many_threads() {
    let table = KeyTable::new(Shared(Arc::default()), 16);
    let held = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| hold_keys(&table, &held));
        }
    });
    assert!(table.is_empty());
}

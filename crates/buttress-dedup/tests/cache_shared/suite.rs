//! The store that the tests run on.

use std::{
    any::Any,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::Codec;
use buttress_dedup::SharedCache;
use buttress_testkit::FakeStore;
use bytes::Bytes;

pub(crate) type Place = SharedCache<FakeStore, Deposit>;

/// A new store of the fleet, and a process whose memory holds entries for as long as they live.
pub(crate) fn place() -> Place {
    SharedCache::new(FakeStore::new(), Deposit::default()).local_ttl(Duration::MAX)
}

/// Writes a value as the number of its place in a list, so that all types have a codec.
#[derive(Clone, Default)]
pub(crate) struct Deposit(Arc<Mutex<Vec<Box<dyn Any + Send>>>>);

impl<T: Clone + Send + 'static> Codec<T> for Deposit {
    const ID: u32 = 1;

    fn encode(&self, value: &T, out: &mut Vec<u8>, max: usize) -> bool {
        let mut values = self.0.lock().unwrap();
        out.extend_from_slice(&values.len().to_be_bytes());
        values.push(Box::new(value.clone()));
        size_of::<usize>() <= max
    }

    fn decode(&self, bytes: Bytes) -> Option<T> {
        let number = usize::from_be_bytes(bytes.as_ref().try_into().ok()?);
        self.0.lock().unwrap().get(number)?.downcast_ref().cloned()
    }
}

use std::{collections::HashMap, time::Duration};

use buttress_state::{Begun, Ending, Finished, Slot, Token};
use bytes::Bytes;

/// The values, locks and generations of a store.
#[derive(Debug, Default)]
pub(super) struct Flights {
    generations: HashMap<Vec<u8>, Id>,
    entries: HashMap<(Vec<u8>, Vec<u8>), Entry>,
    ids: u128,
}

type Id = [u8; 16];

#[derive(Debug, Default)]
struct Entry {
    value: Option<Value>,
    lock: Option<Lock>,
}

#[derive(Debug)]
struct Value {
    generation: Id,
    stamp: Id,
    /// `None`: the value could not be shared.
    bytes: Option<Bytes>,
    ends: u128,
}

#[derive(Debug)]
struct Lock {
    token: Token,
    ends: u128,
}

impl Flights {
    pub(super) fn begin(
        &mut self,
        now: u128,
        slot: Slot<'_>,
        newer_than: Option<Id>,
        lease: Duration,
    ) -> Begun {
        let generation = self.generation(slot.group);
        let owner = self.new_id();
        let entry = self.entry(slot, now, generation);
        match &entry.value {
            Some(Value { bytes: None, .. }) => return Begun::Unshared,
            Some(Value { stamp, bytes: Some(bytes), ends, .. }) if newer_than != Some(*stamp) => {
                return Begun::hit(bytes.clone(), duration(ends - now), *stamp);
            }
            _ => {}
        }
        if let Some(lock) = &entry.lock {
            return Begun::Busy(duration(lock.ends - now));
        }
        let token = Token::new(generation, owner);
        entry.lock = Some(Lock { token, ends: now + lease.as_nanos() });
        Begun::Lead(token)
    }

    pub(super) fn renew(
        &mut self,
        now: u128,
        slot: Slot<'_>,
        token: Token,
        lease: Duration,
    ) -> bool {
        let generation = self.generation(slot.group);
        let lock = self.entry(slot, now, generation).lock.as_mut();
        let Some(lock) = lock.filter(|lock| lock.token == token) else { return false };
        lock.ends = now + lease.as_nanos();
        true
    }

    pub(super) fn finish(
        &mut self,
        now: u128,
        slot: Slot<'_>,
        token: Token,
        ending: Ending,
    ) -> Finished {
        let generation = self.generation(slot.group);
        let entry = self.entry(slot, now, generation);
        if token.generation != generation {
            return Finished::Superseded;
        }
        let is_leader = entry.lock.as_ref().is_some_and(|lock| lock.token == token);
        if is_leader {
            entry.lock = None;
        }
        let (bytes, ttl) = match ending {
            Ending::Value { bytes, ttl, .. } => (Some(bytes), ttl),
            Ending::Unshared if is_leader => (None, UNSHARED),
            _ if is_leader => return Finished::Stored,
            _ => return Finished::Superseded,
        };
        if !is_leader && entry.value.is_some() {
            return Finished::Superseded;
        }
        let ends = now + ttl.as_nanos();
        entry.value = Some(Value { generation, stamp: token.owner, bytes, ends });
        if is_leader { Finished::Stored } else { Finished::StoredLate }
    }

    pub(super) fn invalidate(&mut self, group: &[u8]) {
        let generation = self.new_id();
        self.generations.insert(group.to_vec(), generation);
    }

    pub(super) fn clear(&mut self) {
        self.generations.clear();
        self.entries.clear();
    }

    /// The entry of a slot, without what has ended or is of another generation.
    fn entry(&mut self, slot: Slot<'_>, now: u128, generation: Id) -> &mut Entry {
        let entry = self.entries.entry((slot.group.to_vec(), slot.key.to_vec())).or_default();
        let is_live = |of: Id, ends: u128| of == generation && now < ends;
        entry.value.take_if(|value| !is_live(value.generation, value.ends));
        entry.lock.take_if(|lock| !is_live(lock.token.generation, lock.ends));
        entry
    }

    fn generation(&mut self, group: &[u8]) -> Id {
        if let Some(generation) = self.generations.get(group) {
            return *generation;
        }
        let generation = self.new_id();
        self.generations.insert(group.to_vec(), generation);
        generation
    }

    fn new_id(&mut self) -> Id {
        self.ids += 1;
        self.ids.to_be_bytes()
    }
}

fn duration(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// For how long a slot tells that its value could not be shared.
const UNSHARED: Duration = Duration::from_secs(1);

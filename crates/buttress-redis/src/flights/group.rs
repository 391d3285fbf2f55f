use buttress_state::Slot;
use redis::Cmd;

use super::scripts::{BEGIN, FINISH, INVALIDATE, RENEW};
use crate::{
    connection::{CHANNELS, Operation},
    names::{Names, Tag},
    random::random_bits,
};

/// Returns the id of a group, by which invalidations wait for the store.
pub(super) fn group_id(group: &[u8]) -> Tag {
    Tag::of("group", &[group])
}

/// The names of a group in an epoch. They share a hash slot.
#[derive(Clone, Debug)]
pub(super) struct Group {
    tag: Tag,
    generation: String,
    channel: String,
    /// What messages about the group name: its id, so that a caller can listen in any epoch.
    subject: Tag,
}

impl Group {
    pub(super) fn new(names: &Names, epoch: &[u8; 16], group_id: Tag) -> Self {
        let tag = Tag::of("flight", &[epoch, group_id.as_str().as_bytes()]);
        let generation = names.name(tag, 'g').to_string();
        let number =
            group_id.as_str().bytes().fold(0, |sum, byte| sum + usize::from(byte)) % CHANNELS;
        Self { tag, generation, channel: names.channel(number), subject: group_id }
    }

    pub(super) fn place(&self, names: &Names, slot: Slot<'_>) -> Place {
        let key = Tag::of("key", &[slot.key]);
        Place {
            value: names.name(self.tag, format_args!("v:{key}")).to_string(),
            lock: names.name(self.tag, format_args!("l:{key}")).to_string(),
            group: self.clone(),
        }
    }

    pub(super) fn invalidate(&self) -> Operation<'static> {
        let mut command = INVALIDATE.call([&self.generation].into_iter(), 4);
        command
            .arg(&random_bits())
            .arg(GENERATION_MILLIS)
            .arg(&self.channel)
            .arg(self.subject.as_str());
        Operation::script(&self.generation, &INVALIDATE, command)
    }
}

/// The names of a slot.
#[derive(Clone, Debug)]
pub(super) struct Place {
    group: Group,
    value: String,
    lock: String,
}

impl Place {
    pub(super) fn begin(
        &self,
        owner: &[u8; 16],
        lease_millis: u64,
        newer_than: Option<[u8; 16]>,
    ) -> Operation<'static> {
        let mut command = BEGIN.call(self.names().into_iter(), 5);
        command.arg(&random_bits()).arg(owner).arg(lease_millis);
        command.arg(newer_than.as_ref().map_or(&[][..], |stamp| stamp)).arg(GENERATION_MILLIS);
        self.operation(&BEGIN, command)
    }

    pub(super) fn finish(
        &self,
        generation: &[u8; 16],
        owner: &[u8; 16],
        (what, millis, bytes): (&str, u64, &[u8]),
    ) -> Operation<'static> {
        let mut command = FINISH.call(self.names().into_iter(), 8);
        command.arg(generation).arg(owner).arg(what).arg(millis).arg(bytes);
        command.arg(&self.group.channel).arg(self.group.subject.as_str()).arg(GENERATION_MILLIS);
        self.operation(&FINISH, command)
    }

    pub(super) fn renew(&self, owner: &[u8; 16], lease_millis: u64) -> Operation<'static> {
        let mut command = RENEW.call([&self.lock].into_iter(), 2);
        command.arg(owner).arg(lease_millis);
        self.operation(&RENEW, command)
    }

    fn operation(
        &self,
        script: &'static crate::connection::LuaScript,
        command: Cmd,
    ) -> Operation<'static> {
        Operation::script(&self.lock, script, command)
    }

    fn names(&self) -> [&str; 3] {
        [&self.group.generation, &self.value, &self.lock]
    }
}

/// The longest time of a value, and a minute.
pub(super) const GENERATION_MILLIS: u64 = (24 * 3600 + 60) * 1000;

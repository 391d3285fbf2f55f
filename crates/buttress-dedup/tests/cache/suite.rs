//! The store that the tests run on.

use buttress_dedup::Memory;

pub(crate) type Place = Memory;

pub(crate) fn place() -> Place {
    Memory::default()
}

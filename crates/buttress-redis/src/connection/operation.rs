use std::fmt;

use redis::Cmd;

use super::{nodes::slot_of, script::LuaScript};

/// A command, with the hash slot of its names.
pub(crate) struct Operation<'a> {
    pub(super) slot: u16,
    pub(super) command: Cmd,
    pub(super) script: Option<&'a LuaScript>,
}

impl<'a> Operation<'a> {
    /// A call of `script`. All names of `command` have the slot of `name`.
    pub(crate) fn script(name: impl fmt::Display, script: &'a LuaScript, command: Cmd) -> Self {
        Self { slot: slot_of(&name), command, script: Some(script) }
    }

    /// Says whether the part of the store that holds `name` is there. `name` is of no use otherwise.
    ///
    /// A write, because a server that pauses writes would still reply to reads. Nothing changes.
    pub(super) fn probe(name: &str) -> Self {
        let mut command = redis::cmd("DEL");
        command.arg(name);
        Self { slot: slot_of(&name), command, script: None }
    }
}

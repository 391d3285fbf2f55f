use std::fmt;

use redis::{Cmd, RedisWrite, Script};

/// A script with its hash.
#[derive(Debug)]
pub(crate) struct LuaScript {
    code: &'static str,
    hash: String,
}

impl LuaScript {
    pub(crate) fn new(code: &'static str) -> Self {
        Self { code, hash: Script::new(code).get_hash().to_owned() }
    }

    /// The command that runs the script. Every value travels in `keys` and in the arguments that are
    /// added later, at most `arguments` of them.
    pub(crate) fn call<K: fmt::Display>(
        &self,
        keys: impl ExactSizeIterator<Item = K>,
        arguments: usize,
    ) -> Cmd {
        let all = HEAD + keys.len() + arguments;
        let mut command = Cmd::with_capacity(all, 40 + keys.len() * LONGEST_NAME + arguments * 20);
        command.arg("EVALSHA").arg(&self.hash).arg(keys.len());
        for key in keys {
            command.write_arg_fmt(key);
        }
        command
    }

    /// The command that makes the script known to a server.
    pub(super) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.code);
        command
    }
}

/// `EVALSHA`, the hash and the number of keys.
const HEAD: usize = 3;
/// Of a namespace of 64 characters.
const LONGEST_NAME: usize = 120;

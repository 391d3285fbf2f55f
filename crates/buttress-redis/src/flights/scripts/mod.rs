//! The scripts of flights. They are constants: every value travels in `KEYS` and `ARGV`.

use std::sync::LazyLock;

use crate::connection::LuaScript;

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<LuaScript> = LazyLock::new(|| {
            LuaScript::new(concat!(include_str!("text.lua"), include_str!($file)))
        });
    };
}

script!(BEGIN, "begin.lua");
script!(FINISH, "finish.lua");
script!(RENEW, "renew.lua");
script!(INVALIDATE, "invalidate.lua");
script!(EPOCH, "epoch.lua");

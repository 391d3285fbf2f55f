//! Counts of atomic writes: objdump finds the instructions, and callgrind counts how often each runs.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    path::Path,
    process::{self, Command},
};

use crate::callgrind::run;

/// The instructions of this executable that read and write memory in one step.
pub(crate) struct AtomicWrites {
    addresses: HashSet<u64>,
}

impl AtomicWrites {
    /// Disassembles this executable. Returns `None` without objdump, and on processors other than x86-64.
    ///
    /// On x86-64 these are all instructions with a `lock` prefix, and `xchg` with memory. A store is a
    /// plain instruction for most orderings, and does not count.
    pub(crate) fn of_this_executable() -> Option<Self> {
        let output = Command::new("objdump")
            .args(["--disassemble", "--no-show-raw-insn"])
            .arg(env::current_exe().ok()?)
            .output()
            .ok()?;
        let listing = String::from_utf8_lossy(&output.stdout);
        let addresses: HashSet<_> = listing.lines().filter_map(atomic_address).collect();
        (!addresses.is_empty()).then_some(Self { addresses })
    }

    /// Returns how often a process with `request` runs each of these instructions, by address, or `None`
    /// without valgrind.
    pub(crate) fn count(&self, request: &str) -> Option<BTreeMap<u64, i64>> {
        let profile = env::temp_dir().join(format!("buttress-benches-{}", process::id()));
        let options = ["--dump-instr=yes", "--compress-pos=no", "--compress-strings=no"];
        let reported = run(request, &profile, &options);
        let counts = std::fs::read_to_string(&profile);
        // There is no file if valgrind is not installed.
        drop(std::fs::remove_file(&profile));
        reported?;
        let executable = env::current_exe().ok()?;
        Some(self.counts(&counts.ok()?, &executable))
    }

    /// Reads a profile of callgrind: lines `0xADDRESS LINE COUNT` below the `ob=` line of their object.
    fn counts(&self, profile: &str, executable: &Path) -> BTreeMap<u64, i64> {
        let mut counts = BTreeMap::new();
        let (mut is_ours, mut is_call) = (false, false);
        for line in profile.lines() {
            if let Some(object) = line.strip_prefix("ob=") {
                is_ours = Path::new(object) == executable;
            }
            // The line below `calls=` has the cost of the called function, which has lines of its own.
            let is_inclusive = is_call;
            is_call = line.starts_with("calls=");
            if !is_ours || is_inclusive {
                continue;
            }
            let cost = own_cost(line).filter(|(address, _)| self.addresses.contains(address));
            if let Some((address, count)) = cost {
                *counts.entry(address).or_default() += count;
            }
        }
        counts
    }
}

/// The address of a line of objdump, if the line is `ADDRESS: lock …` or `ADDRESS: xchg …` with memory.
fn atomic_address(line: &str) -> Option<u64> {
    let (address, instruction) = line.split_once(":\t")?;
    let is_locked = instruction.starts_with("lock ");
    let is_exchange = instruction.starts_with("xchg ") && instruction.contains('(');
    if is_locked || is_exchange {
        return u64::from_str_radix(address.trim(), 16).ok();
    }
    None
}

fn own_cost(line: &str) -> Option<(u64, i64)> {
    let mut words = line.strip_prefix("0x")?.split(' ');
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    Some((address, words.nth(1)?.parse().ok()?))
}

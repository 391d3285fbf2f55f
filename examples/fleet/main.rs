//! The fleet: `cargo run --release --example fleet`. The documentation is in the library `src/lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    buttress_fleet::main()
}

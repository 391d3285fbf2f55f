//! The storm: `cargo run --release --example storm`. The documentation is in the library `src/lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    buttress_storm::main()
}

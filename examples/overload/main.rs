//! The overload: `cargo run --release --example overload`. The documentation is in the library `src/lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    buttress_overload::main()
}

//! The overload: `cargo run --release --example overload`. What it does stands in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    buttress_overload::main()
}

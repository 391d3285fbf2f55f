//! The storm: `cargo run --release --example storm`. What it does stands in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    buttress_storm::main()
}

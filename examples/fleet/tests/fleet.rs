//! Runs the built example as a child process.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic")]

use std::process::{Command, Stdio};

/// Returns the command of the built example.
///
/// `cargo test` builds the examples of a package with its tests, into the directory next to that of this test.
fn fleet() -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join("fleet");
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "build it first: cargo build -p buttress-fleet --example fleet");
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null()); // the default plot goes there
    command
}

#[test]
fn missing_redis_server_is_one_line_that_says_how_to_install_it_and_code_2() {
    let output = fleet().env("PATH", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains("apt install redis-server") && line.contains("brew install redis"),
        "{line}"
    );
}

#[test]
fn unknown_argument_is_code_2() {
    let output = fleet().arg("--what").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A parent that is killed cannot end its replicas.
#[test]
fn replica_ends_with_the_input_of_its_parent() {
    let output = fleet().arg("--replica").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}

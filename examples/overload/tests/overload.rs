//! Runs the built example as a child process.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

/// Returns the command of the built example.
///
/// `cargo test` builds the examples of a package with its tests, into the directory next to that of this test.
fn overload() -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join("overload");
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.exists(),
        "build it first: cargo build -p buttress-overload --example overload"
    );
    Command::new(program)
}

fn run(arguments: &[&str]) -> Output {
    overload().args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn json_is_one_object_with_the_stable_keys() {
    let output = run(&["--json", "--seed", "5", "--seconds", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["seed"], &report["seconds"]), (&5.into(), &2.into()));
    assert!(report["capacity_per_second"].is_number() && report["patience_ms"].is_number());
    let servers = report["servers"].as_array().unwrap();
    let names: Vec<_> = servers.iter().filter_map(|server| server["name"].as_str()).collect();
    assert_eq!(names, ["bare", "concurrency", "codel", "adaptive"]);
    for server in servers {
        for key in [
            "offered_per_second",
            "goodput_per_second",
            "goodput",
            "rejected",
            "timed_out",
            "failed",
            "not_sent",
            "late_ms",
            "heap_start_bytes",
            "heap_half_bytes",
            "heap_end_bytes",
            "most_jobs",
            "recovered",
        ] {
            assert!(server[key].is_number(), "{key} of {}", server["name"]);
        }
        for key in ["p50_ms", "p99_ms", "limit"] {
            assert!(server.get(key).is_some(), "{key} of {}", server["name"]);
        }
    }
    let (bare, limited) = (&servers[0], &servers[1]);
    assert!(bare["limit"].is_null() && bare["rejected"] == 0, "{bare}");
    // The offered load depends on the machine. The limit on concurrent jobs does not.
    assert_eq!(limited["limit"], 16, "{limited}");
    assert!(limited["most_jobs"].as_u64() <= Some(16), "{limited}");
    assert!(bare["most_jobs"].as_u64() >= limited["most_jobs"].as_u64(), "{bare}");
}

#[test]
fn invalid_argument_exits_with_code_2_and_names_the_argument() {
    for (arguments, name) in [
        (["--seconds", "1"], "--seconds"),
        (["--seconds", "many"], "--seconds"),
        (["--seed", "1.5"], "--seed"),
        (["--only", "nobody"], "--only"),
        (["--overload", "1"], "--overload"),
    ] {
        let output = run(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains("error") && error.contains(name), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_option_except_the_internal_ones() {
    let output = run(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for option in ["--seed", "--seconds", "--json", "--help"] {
        assert!(help.contains(option), "{option}");
    }
    assert!(!help.contains("--server"));
}

#[test]
fn server_ends_with_its_standard_input() {
    let (mut child, commands, _answers, _) = server("bare");
    drop(commands);
    assert!(child.wait().unwrap().success());
}

#[test]
fn server_responds_with_a_page_and_prints_a_snapshot() {
    let (mut child, mut commands, mut answers, port) = server("concurrency");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    assert!(answer.ends_with(&[b'.'; 4096]));
    commands.write_all(b"?\n").unwrap();
    let mut snapshot = String::new();
    answers.read_line(&mut snapshot).unwrap();
    let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
    assert_eq!((&snapshot["most_jobs"], &snapshot["limit"]), (&1.into(), &16.into()));
    assert!(snapshot["heap_bytes"].as_u64() > Some(0));
    drop(commands);
    child.wait().unwrap();
}

fn server(name: &str) -> (Child, ChildStdin, BufReader<ChildStdout>, u16) {
    let mut child = overload()
        .args(["--server", name, "--seed", "5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let commands = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut port = String::new();
    answers.read_line(&mut port).unwrap();
    (child, commands, answers, port.trim().parse().unwrap())
}

//! The built example, run as a user runs it.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

/// Beside this test's own directory; `cargo test` builds the examples of a package with its tests.
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
fn json_is_one_object_with_the_stable_keys_and_nothing_else_on_standard_output() {
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
    // How much is offered depends on the machine; that no more jobs run than the limit allows does not.
    assert_eq!(limited["limit"], 16, "{limited}");
    assert!(limited["most_jobs"].as_u64() <= Some(16), "{limited}");
    assert!(bare["most_jobs"].as_u64() >= limited["most_jobs"].as_u64(), "{bare}");
}

#[test]
fn bad_arguments_end_with_a_clear_error_and_code_2() {
    for (arguments, what) in [
        (["--seconds", "1"], "--seconds"),
        (["--seconds", "many"], "--seconds"),
        (["--seed", "1.5"], "--seed"),
        (["--only", "nobody"], "--only"),
        (["--overload", "1"], "--overload"),
    ] {
        let output = run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("error") && said.contains(what), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_option_and_hides_what_is_not_for_users() {
    let output = run(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for option in ["--seed", "--seconds", "--json", "--help"] {
        assert!(help.contains(option), "{option}");
    }
    assert!(!help.contains("--server"));
}

#[test]
fn a_server_ends_with_its_standard_input() {
    let (mut child, questions, _answers, _) = server("bare");
    drop(questions);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_server_answers_with_a_page_and_tells_its_condition() {
    let (mut child, mut questions, mut answers, port) = server("concurrency");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    assert!(answer.ends_with(&[b'.'; 4096]));
    questions.write_all(b"?\n").unwrap();
    let mut condition = String::new();
    answers.read_line(&mut condition).unwrap();
    let condition: Value = serde_json::from_str(&condition).unwrap();
    assert_eq!((&condition["most_jobs"], &condition["limit"]), (&1.into(), &16.into()));
    assert!(condition["heap_bytes"].as_u64() > Some(0));
    drop(questions);
    child.wait().unwrap();
}

fn server(name: &str) -> (Child, ChildStdin, BufReader<ChildStdout>, u16) {
    let mut child = overload()
        .args(["--server", name, "--seed", "5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let questions = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut port = String::new();
    answers.read_line(&mut port).unwrap();
    (child, questions, answers, port.trim().parse().unwrap())
}

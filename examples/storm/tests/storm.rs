//! The built example, run as a user runs it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, too")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Beside this test's own directory; `cargo test` builds the examples of a package with its tests.
fn storm() -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join("storm");
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "build it first: cargo build -p buttress-storm --example storm");
    Command::new(program)
}

fn run(arguments: &[&str]) -> Output {
    storm().args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn picture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn json_is_one_object_with_the_stable_keys_and_nothing_else_on_standard_output() {
    let svg = picture("json.svg");
    let plot = svg.to_str().unwrap();
    let output = run(&[
        "--json",
        "--seed",
        "5",
        "--operations",
        "20",
        "--concurrency",
        "20",
        "--plot",
        plot,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["seed"], &report["operations"]), (&5.into(), &20.into()));
    assert_eq!(report["concurrency"], 20);
    let clients = report["clients"].as_array().unwrap();
    assert_eq!(clients[0]["name"], "linear");
    assert_eq!(clients[1]["name"], "buttress");
    for count in ["admitted", "queued", "rejected"] {
        assert!(clients[1]["throttled"][count].is_number(), "{count}");
    }
    for client in clients {
        for key in [
            "success_rate",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "p50_all_ms",
            "p95_all_ms",
            "p99_all_ms",
            "upstream_requests_per_operation",
        ] {
            assert!(client[key].is_number(), "{key} of {}", client["name"]);
        }
        // They are missing if the machine is too busy for operations of 5 s.
        for key in
            ["peak_heap_bytes", "heap_bytes_per_operation", "heap_own_keys_bytes_per_operation"]
        {
            let heap = client.get(key).unwrap();
            assert!(heap.is_number() || heap.is_null(), "{key} of {}", client["name"]);
        }
        let held = client["weather"]["held"].as_u64().unwrap();
        let limit = if client["throttled"].is_null() { 100 } else { 16 };
        assert!(
            held >= limit || client["peak_heap_bytes"].is_null(),
            "{held} in flight when the heap was measured"
        );
    }
    let svg = std::fs::read_to_string(svg).unwrap();
    for word in ["<svg", "linear", "buttress", "outage", "milliseconds", "seconds"] {
        assert!(svg.contains(word), "{word} stands in the picture");
    }
}

#[test]
fn bad_arguments_end_with_a_clear_error_and_code_2() {
    let nowhere = std::env::current_exe().unwrap().join("storm.svg");
    for (arguments, what) in [
        (["--operations", "0"], "--operations"),
        (["--operations", "many"], "--operations"),
        (["--concurrency", "-1"], "-1"),
        (["--concurrency", "100000"], "--concurrency"),
        (["--seed", "1.5"], "--seed"),
        (["--plot", nowhere.to_str().unwrap()], "--plot"),
        (["--storm", "1"], "--storm"),
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
    for option in ["--seed", "--operations", "--concurrency", "--json", "--plot", "--help"] {
        assert!(help.contains(option), "{option}");
    }
    assert!(!help.contains("--upstream"));
}

#[test]
fn an_upstream_ends_with_its_standard_input() {
    let (mut child, commands, _answers, _) = upstream();
    drop(commands);
    assert!(child.wait().unwrap().success());
}

#[test]
fn forty_requests_meet_one_block_of_the_deck_and_resets_are_real() {
    let (mut child, mut commands, mut answers, port) = upstream();
    commands.write_all(b"begin\nreport\n").unwrap();
    answers.read_line(&mut String::new()).unwrap(); // so it has begun
    let asked: Vec<_> = (0..40).map(|key| thread::spawn(move || ask(port, key))).collect();
    let met: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
    let count = |what: &str| met.iter().filter(|met| met.starts_with(what)).count();
    assert_eq!(count("HTTP/1.1 200"), 30, "{met:?}");
    assert_eq!(count("HTTP/1.1 50"), 3, "{met:?}");
    assert_eq!(count("reset"), 4, "{met:?}");
    assert_eq!(count("nothing yet"), 3, "one silent and two slow: {met:?}");
    drop(commands);
    child.wait().unwrap();
}

fn upstream() -> (Child, ChildStdin, BufReader<ChildStdout>, u16) {
    let mut child = storm()
        .args(["--upstream", "--seed", "5"])
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

/// What a request on a connection of its own meets within a second and a half.
fn ask(port: u16, key: u32) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    let request = format!("GET /l1/{key} HTTP/1.1\r\nhost: upstream\r\n\r\n");
    let mut answer = [0; 64];
    let read = stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut answer));
    match read {
        Ok(length) => String::from_utf8_lossy(&answer[..length]).into_owned(),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionReset => "reset".to_owned(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "nothing yet".to_owned(),
            kind => format!("{kind}"),
        },
    }
}

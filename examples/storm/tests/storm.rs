//! Runs the built example as a child process.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may panic")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Returns the command of the built example.
///
/// `cargo test` builds the examples of a package with its tests, into the directory next to that of this test.
fn storm() -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join("storm");
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "build it first: cargo build -p buttress-storm --example storm");
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")); // the default plots go there
    command
}

fn run(arguments: &[&str]) -> Output {
    storm().args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn plot_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn json_is_one_object_with_the_stable_keys() {
    let svg = plot_file("json.svg");
    let plot = svg.to_str().unwrap();
    let mut arguments =
        vec!["--json", "--seed", "5", "--operations", "20", "--concurrency", "20", "--plot", plot];
    // The scenarios take 45 s. `.ci/run` checks their keys.
    arguments.extend(CLIENTS.iter().flat_map(|name| ["--only", name]));
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["seed"], &report["operations"]), (&5.into(), &20.into()));
    assert_eq!(report["concurrency"], 20);
    for scenario in ["dead_upstream", "slow_tail"] {
        assert_eq!(report[scenario].as_array().unwrap().len(), 0, "{scenario}");
    }
    let clients = report["clients"].as_array().unwrap();
    let names: Vec<_> = clients.iter().map(|client| client["name"].as_str().unwrap()).collect();
    assert_eq!(names, CLIENTS);
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
        // The heap is `null` if the machine is too busy to finish operations within 5 s.
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
        assert!(svg.contains(word), "{word} is missing in the plot");
    }
}

#[test]
fn invalid_argument_exits_with_code_2_and_names_the_argument() {
    let nowhere = std::env::current_exe().unwrap().join("storm.svg");
    for (arguments, name) in [
        (["--operations", "0"], "--operations"),
        (["--operations", "many"], "--operations"),
        (["--concurrency", "-1"], "-1"),
        (["--concurrency", "100000"], "--concurrency"),
        (["--seed", "1.5"], "--seed"),
        (["--plot", nowhere.to_str().unwrap()], "--plot"),
        (["--scenario-plot", nowhere.to_str().unwrap()], "--scenario-plot"),
        (["--storm", "1"], "--storm"),
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
    for option in
        ["--seed", "--operations", "--concurrency", "--json", "--plot", "--scenario-plot", "--help"]
    {
        assert!(help.contains(option), "{option}");
    }
    for option in ["--upstream", "--conditions", "--only"] {
        assert!(!help.contains(option), "{option}");
    }
}

#[test]
fn upstream_ends_with_its_standard_input() {
    let (mut child, commands, _answers, _) = upstream();
    drop(commands);
    assert!(child.wait().unwrap().success());
}

#[test]
fn first_40_requests_meet_one_block_of_the_fault_plan() {
    let (mut child, mut commands, mut answers, port) = upstream();
    commands.write_all(b"begin\nreport\n").unwrap();
    answers.read_line(&mut String::new()).unwrap(); // the storm has begun
    let requests: Vec<_> = (0..40).map(|key| thread::spawn(move || request(port, key))).collect();
    let results: Vec<_> = requests.into_iter().map(|request| request.join().unwrap()).collect();
    let count = |prefix: &str| results.iter().filter(|result| result.starts_with(prefix)).count();
    assert_eq!(count("HTTP/1.1 200"), 30, "{results:?}");
    assert_eq!(count("HTTP/1.1 50"), 3, "{results:?}");
    assert_eq!(count("reset"), 4, "{results:?}");
    assert_eq!(count("nothing yet"), 3, "one silent and two slow: {results:?}");
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

/// Sends a request on a new connection. Returns the response or the error after at most 1.5 s.
fn request(port: u16, key: u32) -> String {
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

const CLIENTS: [&str; 5] = [
    "linear",
    "buttress",
    "buttress-without-cache",
    "buttress-distinct-keys",
    "buttress-default-budget",
];

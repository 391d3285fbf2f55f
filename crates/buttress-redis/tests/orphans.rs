//! The servers of tests end with their tests.

mod support;

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Command, Stdio},
};

use support::{Server, eventually};

/// Run by the other test as a process of its own.
#[tokio::test]
#[ignore = "waits until its process is killed"]
async fn test_that_is_killed() {
    let Some(server) = Server::start("a test that is killed").await else { return };
    println!("\nserver at {}", server.port);
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn server_ends_when_the_process_of_its_test_is_killed() {
    if Server::start("a test that is killed").await.is_none() {
        return;
    }
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "test_that_is_killed"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(test.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.find_map(|line| line.strip_prefix("server at ")?.parse::<u16>().ok());
    let port = port.expect("a server");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    test.kill().unwrap();
    test.wait().unwrap();
    eventually("the server ends", async || TcpStream::connect(("127.0.0.1", port)).is_err()).await;
}

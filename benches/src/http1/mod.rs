//! What a layer adds to a real HTTP/1 request: hyper's client and server in one thread.

mod cases;
mod client;
mod exchange;

use std::fmt;

use tokio::runtime::Runtime;

pub use cases::http1_cases;

use crate::callgrind;

/// Layers on the client or on the server of an HTTP/1 connection.
pub struct Http1Case {
    side: Side,
    layers: &'static str,
    provider: &'static str,
    open: Box<Open>,
}

impl fmt::Display for Http1Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.side.as_str(), self.layers, self.provider)
    }
}

impl fmt::Debug for Http1Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http1Case({self})")
    }
}

/// The side that has the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Neither,
    Client,
    Server,
}

impl Side {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Neither => "–",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// If the bench started this process under callgrind, sends the requested requests and returns `true`.
pub fn run_requested_http1_case(cases: &[Http1Case]) -> bool {
    let Some(requested) = callgrind::requested() else { return false };
    let Some((requests, name)) = requested.split_once(' ') else { return true };
    let case = cases.iter().find(|case| case.to_string() == name);
    if let (Some(case), Ok(requests)) = (case, requests.parse()) {
        let runtime = exchange::runtime();
        let mut send = (case.open)(&runtime);
        // The first requests grow the buffers of the connection.
        send(&runtime, WARM_UP);
        callgrind::counted_run(&mut || send(&runtime, requests));
    }
    true
}

/// Prints the instructions per request of all `cases` as a Markdown table. The first case has no layer.
pub fn print_http1(cases: &[Http1Case]) {
    println!("| side | layers | by | Ir per request | over bare | share of bare |");
    println!("|---|---|---|--:|--:|--:|");
    let mut bare = None;
    for case in cases {
        let Some(own) = per_request(case) else {
            println!("\nvalgrind is not installed, so instructions are not counted.");
            return;
        };
        let bare = *bare.get_or_insert(own);
        let over = own - bare;
        let Http1Case { side, layers, provider, .. } = case;
        let (side, tenths) = (side.as_str(), (over * 1000 + bare / 2) / bare);
        let share = format!("{}.{} %", tenths / 10, tenths % 10);
        println!("| {side} | {layers} | {provider} | {own} | {over} | {share} |");
    }
    println!();
    println!("A GET over a kept connection of loopback, and a short page that is read to its end.");
    println!("hyper's client and server run in one thread, and both are counted.");
}

fn per_request(case: &Http1Case) -> Option<i64> {
    let twice = callgrind::count(&format!("{} {case}", 2 * REQUESTS))?;
    let once = callgrind::count(&format!("{REQUESTS} {case}"))?;
    Some((twice - once + REQUESTS / 2) / REQUESTS)
}

/// Starts the server and makes the client, which sends a number of requests one after the other.
type Open = dyn Fn(&Runtime) -> Box<SendRequests>;
type SendRequests = dyn FnMut(&Runtime, i64);

const WARM_UP: i64 = 64;
const REQUESTS: i64 = 1_024;

//! One server: the connection to it, and what keeps the connection.

mod dial;
mod timeouts;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use buttress_state::sync::lock;
#[cfg(feature = "cluster")]
use redis::ConnectionAddr;
use redis::{Client, Cmd, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout_at},
};

pub(super) use self::dial::keep_connected;
use self::timeouts::Timeouts;
use super::{failure::Failure, tasks::IsRunning};

/// A server, and the connection to it, if there is one now.
pub(crate) struct Link {
    pub(super) client: Client,
    pub(super) is_dialling: IsRunning,
    /// The connection is gone. The dialling task waits for this.
    pub(super) lost: Notify,
    /// No operation will use the link any more.
    is_retired: AtomicBool,
    state: Mutex<LinkState>,
}

struct LinkState {
    connection: Option<MultiplexedConnection>,
    /// The number of the connection. What an older connection reports says nothing about this one.
    number: u64,
    since: Option<Instant>,
    timeouts: Timeouts,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        let state =
            LinkState { connection: None, number: 0, since: None, timeouts: Timeouts::default() };
        Self {
            client,
            is_dialling: IsRunning::default(),
            lost: Notify::new(),
            is_retired: AtomicBool::new(false),
            state: state.into(),
        }
    }

    /// The address, for events. Holds no password.
    pub(super) fn node(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// The host and the port, without those of a Unix socket.
    #[cfg(feature = "cluster")]
    pub(super) fn host(&self) -> (String, u16) {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host.clone(), *port)
            }
            _ => Default::default(),
        }
    }

    /// Ends the dialling task, and with it the connection.
    #[cfg(feature = "cluster")]
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Relaxed);
        self.close();
        self.lost.notify_one();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Relaxed)
    }

    pub(super) fn is_connected(&self) -> bool {
        lock(&self.state).connection.is_some()
    }

    /// Sends `command` once, and waits for the reply until `deadline`.
    pub(super) async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        let (mut connection, number) = self.current()?;
        let sent = Instant::now();
        let reply = within(deadline, connection.send_packed_command(command)).await;
        self.settle(number, sent, reply)
    }

    /// Sends `command` to the node that takes over its slot.
    pub(super) async fn ask(&self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        let (mut connection, number) = self.current()?;
        let sent = Instant::now();
        let mut both = redis::Pipeline::with_capacity(2);
        both.cmd("ASKING").add_command(command.clone());
        let replies = within(deadline, connection.send_packed_commands(&both, 1, 1)).await;
        let reply = replies.and_then(|mut replies| replies.pop().ok_or(Failure::Corrupt));
        self.settle(number, sent, reply)
    }

    fn current(&self) -> Result<(MultiplexedConnection, u64), Failure> {
        let state = lock(&self.state);
        let connection = state.connection.clone().ok_or(Failure::NotConnected)?;
        Ok((connection, state.number))
    }

    fn settle(
        &self,
        number: u64,
        sent: Instant,
        reply: Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let reply = match reply {
            Ok(Value::ServerError(error)) => Err(Failure::from_server(&error)),
            // No operation subscribes. Replies no longer belong to their requests.
            Ok(Value::Push { .. }) => Err(Failure::Corrupt),
            reply => reply,
        };
        match &reply {
            Err(Failure::NotConnected) => {}
            Err(Failure::Timeout) => self.timed_out(number, sent),
            Err(failure) if failure.has_code("READONLY") => self.is_replica(number),
            Err(Failure::Broken(_) | Failure::Corrupt) => {
                self.lose(number, "broken");
            }
            _ => self.replied(number),
        }
        reply
    }

    fn replied(&self, number: u64) {
        let mut state = lock(&self.state);
        if state.number == number {
            state.timeouts.replied();
        }
    }

    fn timed_out(&self, number: u64, sent: Instant) {
        let is_silent = {
            let mut state = lock(&self.state);
            state.number == number && state.timeouts.timed_out(sent, Instant::now())
        };
        if is_silent {
            self.lose(number, "silent");
        }
    }

    /// After a failover the address may be that of the new primary, so the connection is replaced, at
    /// most once in [`REPLACE_EVERY`].
    fn is_replica(&self, number: u64) {
        self.replied(number);
        let is_old = {
            let state = lock(&self.state);
            state.number == number
                && state.since.is_some_and(|since| since.elapsed() >= REPLACE_EVERY)
        };
        if is_old {
            self.lose(number, "read_only");
        }
    }

    /// Returns the number of the next connection.
    pub(super) fn next_number(&self) -> u64 {
        lock(&self.state).number + 1
    }

    /// Opens the link to operations.
    pub(super) fn install(&self, connection: MultiplexedConnection, number: u64) {
        let mut state = lock(&self.state);
        let (since, timeouts) = (Some(Instant::now()), Timeouts::default());
        *state = LinkState { connection: Some(connection), number, since, timeouts };
    }

    /// Drops the connection of this number, if it is the present one.
    pub(super) fn lose(&self, number: u64, reason: &'static str) {
        let connection = {
            let mut state = lock(&self.state);
            if state.number == number { state.connection.take() } else { None }
        };
        if connection.is_some() {
            tracing::warn!(name: "redis.connection_lost", target: "buttress", node = %self.node(), reason);
            self.lost.notify_one();
        }
    }

    /// Drops the present connection, because a reply made no sense.
    pub(super) fn distrust(&self) {
        let number = lock(&self.state).number;
        self.lose(number, "broken");
    }

    /// Drops the connection because nobody uses the store any more.
    pub(super) fn close(&self) {
        let connection = lock(&self.state).connection.take();
        drop(connection);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("node", &self.node())
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// Waits for `reply` until `deadline`. Without a runtime that has timers, the store is away.
pub(super) async fn within<T>(
    deadline: Instant,
    reply: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T, Failure> {
    // tokio panics without a runtime, and if the runtime has no timers.
    if Handle::try_current().is_err() {
        return Err(Failure::NotConnected);
    }
    let timed = catch_unwind(AssertUnwindSafe(|| timeout_at(deadline, reply)));
    match timed.map_err(|_| Failure::NotConnected)?.await {
        Ok(reply) => reply.map_err(|error| Failure::from_client(&error)),
        Err(_) => Err(Failure::Timeout),
    }
}

/// The least age of a connection to a replica that is replaced.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

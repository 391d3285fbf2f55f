use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use redis::{AsyncConnectionConfig, PushInfo, PushKind, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Link, within};
use crate::connection::{common::Common, failure::Failure, tasks::Claim};

/// Starts the task that keeps `link` connected, unless it runs.
pub(in crate::connection) fn keep_connected(link: &Arc<Link>, common: &Arc<Common>) {
    if link.is_dialling.get() {
        return;
    }
    if let Some(claim) = link.is_dialling.claim() {
        let (held, in_task) = (Held { link: Arc::clone(link), _claim: claim }, Arc::clone(common));
        common.tasks.spawn(async move { run(&held.link, &in_task).await });
    }
}

/// The connection belongs to the runtime of the dialling task, and ends with the task.
struct Held {
    link: Arc<Link>,
    _claim: Claim,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.link.close();
    }
}

async fn run(link: &Arc<Link>, common: &Arc<Common>) {
    let (mut backoff, mut is_outage) = (Backoff::default(), false);
    while !link.is_retired() {
        let number = link.next_number();
        match dial(link, common, number).await {
            Ok(connection) => {
                is_outage = false;
                let since = Instant::now();
                hold(link, common, connection, number).await;
                // A server that accepts and hangs up at once is not dialled without a pause.
                if since.elapsed() >= LONGEST_PAUSE {
                    backoff = Backoff::default();
                    continue;
                }
            }
            Err(failure) => {
                report(link, &failure, std::mem::replace(&mut is_outage, true));
                common.dialled();
            }
        }
        sleep(backoff.next()).await;
    }
}

/// One warning per outage: the task dials up to ten times a second.
fn report(link: &Link, failure: &Failure, is_known: bool) {
    let node = link.node();
    if is_known {
        tracing::debug!(name: "redis.dial_failed", target: "buttress", %node, error = %failure);
    } else {
        tracing::warn!(name: "redis.dial_failed", target: "buttress", %node, error = %failure);
    }
}

async fn dial(
    link: &Arc<Link>,
    common: &Arc<Common>,
    number: u64,
) -> Result<MultiplexedConnection, Failure> {
    let (hints, weak) = (Arc::clone(&common.hints), Arc::downgrade(link));
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(move |push: PushInfo| {
            match (push.kind == PushKind::Disconnection, weak.upgrade()) {
                (true, Some(link)) => link.lose(number, "closed"),
                (true, None) => {}
                (false, _) => hints.deliver(&push),
            }
            Ok::<_, redis::aio::SendError>(())
        });
    let deadline = Instant::now() + common.dial_limit();
    within(deadline, link.client.get_multiplexed_async_connection_with_config(&config)).await
}

/// Lets operations use the connection until it is lost.
async fn hold(
    link: &Arc<Link>,
    common: &Common,
    mut connection: MultiplexedConnection,
    number: u64,
) {
    let mut wanted = common.hints.wanted();
    let mut is_subscribed = *wanted.borrow();
    if is_subscribed {
        subscribe(link, common, &mut connection).await;
    }
    link.install(connection.clone(), number);
    common.counters.connected();
    tracing::info!(name: "redis.connected", target: "buttress", node = %link.node());
    common.connected.notify_waiters();
    common.dialled();
    // A link may retire between the dial and `install`: then `retire` closed nothing.
    while link.is_connected() && !link.is_retired() {
        let lost = pin!(link.lost.notified());
        if is_subscribed {
            lost.await;
            continue;
        }
        if let Either::Right(_) = select(lost, pin!(is_wanted(&mut wanted))).await {
            subscribe(link, common, &mut connection).await;
            is_subscribed = true;
        }
    }
}

async fn is_wanted(wanted: &mut watch::Receiver<bool>) {
    if wanted.wait_for(|is_wanted| *is_wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Subscribes to the hints. Without them the callers that wait still poll.
async fn subscribe(link: &Link, common: &Common, connection: &mut MultiplexedConnection) {
    let deadline = Instant::now() + common.dial_limit();
    let channels = common.hints.channels();
    if let Err(failure) = within(deadline, connection.subscribe(channels)).await {
        tracing::warn!(name: "redis.subscribe_failed", target: "buttress", node = %link.node(), error = %failure);
    }
}

/// The pause before the next try, with jitter.
#[derive(Default)]
struct Backoff(u32);

impl Backoff {
    fn next(&mut self) -> Duration {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.0.min(4)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

//! Requests to the store. Each runs in a task of its own, because a caller that leaves must not lose
//! cells that the store has debited.

mod payment;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use buttress_control::{LeaseDemand, LeaseRefill, LeaseReply, Nanos};
use buttress_state::{Ask, CellRate, Grant, QuotaStore, StoreError, StoreErrorKind, sync::lock};
use tokio::{runtime::Handle, time::timeout};

use self::payment::Payment;
use super::{FleetCells, law::Law, observe};
use crate::{limit::RefusalReason, queue::WakeList, rate::CellQueue};

pub(super) type Queue = CellQueue<FleetCells>;

/// A request to the store.
struct Request {
    number: u64,
    refill: LeaseRefill,
    rates: Box<[CellRate]>,
    time_limit: Duration,
    sent: Nanos,
}

/// Asks the store if the calls that wait, or the cells held ahead, need it.
#[cold]
pub(super) fn restock(queue: &Arc<Queue>) {
    let (supply, now) = (&queue.supply, queue.now());
    let overdue = lock(&supply.law).overdue(now);
    if let Some(number) = overdue {
        failed(queue, number, &StoreErrorKind::Timeout.into());
    }
    let (waiting, first, has_queue) = {
        let waiters = lock(&queue.waiters);
        let first = waiters.next(now).map_or(0, |(_, entry)| entry.cells);
        (waiters.cells(), first, waiters.options.max > 0)
    };
    let mut law = lock(&supply.law);
    law.has_queue = has_queue;
    let request = begin(supply, &mut law, now, waiting, first);
    supply.publish(now, &law);
    drop(law);
    if let Some(request) = request {
        send(queue, request, None);
    }
}

/// Does the same within a runtime, and nothing elsewhere: no call depends on the request.
#[cold]
pub(super) fn restock_in_runtime(queue: &Arc<Queue>) {
    if Handle::try_current().is_ok() {
        restock(queue);
    }
}

/// Tells the store the debt of a key that no call uses. No more than 64 keys do this at a time.
#[cold]
pub(super) fn pay(queue: &Arc<Queue>) {
    if Handle::try_current().is_err() {
        return;
    }
    let Some(payment) = Payment::begin(&queue.supply.shared) else { return };
    let (supply, now) = (&queue.supply, queue.now());
    let mut law = lock(&supply.law);
    let is_owing = law.lease.debt() > 0;
    let request = if is_owing { begin(supply, &mut law, now, 0, 0) } else { None };
    drop(law);
    if let Some(request) = request {
        send(queue, request, Some(payment));
    }
}

fn begin(
    supply: &FleetCells,
    law: &mut Law,
    now: Nanos,
    waiting: u64,
    first: u32,
) -> Option<Request> {
    let (held, ended) = law.look(now, &supply.slots);
    supply.count_expired(ended);
    // Calls that wait while the store is away are decided without it.
    let observed: u64 = law.observed.iter().map(|call| u64::from(call.cells)).sum();
    let first = if first > 0 { first } else { law.observed.first().map_or(0, |call| call.cells) };
    let is_away = law.lease.is_away();
    let demand = if is_away { (0, 0) } else { (waiting.saturating_add(observed), first) };
    let rules = Arc::clone(&law.rules);
    let refill = law.lease.refill(now, &rules, LeaseDemand::new(demand.0, demand.1, held))?;
    law.observed.iter_mut().for_each(|call| call.is_asked = true);
    let rates = rules.rates().iter().enumerate().map(|(index, rate)| {
        let mut cell_rate = CellRate::new(rate.interval(), rate.burst());
        cell_rate.expect = law.lease.expects(now, &rules, index);
        cell_rate
    });
    let (rates, time_limit) = (rates.collect(), rules.reply_time());
    let number = law.begin(now);
    Some(Request { number, refill, rates, time_limit, sent: now })
}

/// Sends a request from a task of its own. Outside of a runtime, the store is away.
fn send(queue: &Arc<Queue>, request: Request, payment: Option<Payment>) {
    let ending = Ending {
        queue: Arc::clone(queue),
        number: request.number,
        _payment: payment,
        is_over: false,
    };
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(run(ending, request))),
        // `ending` is dropped here, which ends the request.
        Err(_) => drop(ending),
    }
}

async fn run(mut ending: Ending, request: Request) {
    let queue = Arc::clone(&ending.queue);
    let Request { number, refill, rates, time_limit, sent } = request;
    let mut ask =
        Ask::new(queue.supply.store_key.get().map_or(&[], |key| key), &rates, refill.want);
    (ask.min, ask.debt) = (refill.min, refill.debt);
    // A store ends a call within its time limit. This limit is for a store that does not.
    let reply = timeout(time_limit * 2, queue.supply.shared.store.acquire(ask)).await;
    let reply = reply.unwrap_or_else(|_| Err(StoreErrorKind::Timeout.into()));
    let took = Duration::from_nanos(queue.now().get().saturating_sub(sent.get()));
    queue.supply.shared.numbers.trip(took);
    ending.is_over = true;
    match reply.and_then(|grant| checked(grant, refill, rates.len())) {
        Ok(grant) => granted(&queue, number, refill, &grant),
        Err(error) => failed(&queue, number, &error),
    }
}

/// A reply must not grant more than was asked for.
fn checked(grant: Grant, refill: LeaseRefill, rates: usize) -> Result<Grant, StoreError> {
    let is_sound = grant.granted <= refill.want && grant.full_in.len() == rates;
    if is_sound { Ok(grant) } else { Err(StoreErrorKind::Corrupt.into()) }
}

/// Ends a request whose task is dropped, for example because its runtime ends.
struct Ending {
    queue: Arc<Queue>,
    number: u64,
    /// Dropped when the request has ended.
    _payment: Option<Payment>,
    is_over: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.is_over {
            failed(&self.queue, self.number, &StoreErrorKind::Unavailable.into());
        }
    }
}

fn granted(queue: &Arc<Queue>, number: u64, refill: LeaseRefill, grant: &Grant) {
    let supply = &queue.supply;
    let numbers = &supply.shared.numbers;
    let now = queue.now();
    let mut law = lock(&supply.law);
    if !law.end(number) {
        // The request was given up. Its cells are not used, and its debt will be told again.
        drop(law);
        supply.count_expired(grant.granted);
        return numbers.leased(grant.granted, refill.want);
    }
    let rules = Arc::clone(&law.rules);
    let reply = LeaseReply::new(grant.granted, grant.next, &grant.full_in, grant.remaining);
    let debt = law.lease.debt();
    let leased = law.lease.grant(now, &rules, reply);
    let paid = debt - law.lease.debt();
    numbers.debt.fetch_sub(paid, Relaxed);
    // What another thread has not yet put away of the grant before.
    let expired = leased.expired + law.store_pool(now, &supply.slots);
    (law.pool, law.pool_ends) = (leased.cells, leased.ends);
    law.decide_from(now);
    if law.lease.debt() == 0 {
        law.share = None;
    }
    let away = Duration::from_nanos(now.get().saturating_sub(law.away_since.get()));
    drop(law);
    supply.count_expired(expired);
    settle(queue, RefusalReason::Rate);
    // Last, because a subscriber of events is user code.
    numbers.leased(grant.granted, refill.want);
    if grant.lost {
        numbers.state_lost();
    }
    if leased.is_regained {
        numbers.regained(away, paid);
    }
}

fn failed(queue: &Arc<Queue>, number: u64, error: &StoreError) {
    let supply = &queue.supply;
    let numbers = &supply.shared.numbers;
    let now = queue.now();
    let mut law = lock(&supply.law);
    if !law.end(number) {
        return;
    }
    numbers.failed(error);
    let is_first = law.lease.fail(now, error.retry_after());
    if is_first {
        law.away_since = now;
        law.share_at(now);
    }
    let policy = law.policy;
    drop(law);
    settle(queue, supply.why());
    if is_first {
        numbers.lost(error, policy);
    }
}

/// Decides the calls that wait, after a request has ended.
fn settle(queue: &Arc<Queue>, why: RefusalReason) {
    // Declared before the lock, so that the wakers are woken after it on each way out.
    let mut wake_list = WakeList::default();
    let (supply, now) = (&queue.supply, queue.now());
    let mut waiters = lock(&queue.waiters);
    let _ = queue.settle(&mut waiters, now, &mut wake_list);
    drop(waiters);
    let observed = observe::decide(supply, now);
    let mut waiters = lock(&queue.waiters);
    let mut law = lock(&supply.law);
    let dropped = law.store_pool(now, &supply.slots);
    let has_observed = !law.observed.is_empty();
    let is_decided = law.lease.is_away() || law.lease.denied(now, &law.rules, 1).is_some();
    supply.publish(now, &law);
    drop(law);
    if is_decided {
        let max = waiters.options.max;
        waiters.refuse_beyond(max, why, &mut wake_list);
    }
    queue.clear_waiting_if_empty(&mut waiters, now);
    let is_needed = has_observed || !waiters.is_empty();
    drop(waiters);
    supply.count_expired(dropped);
    // Sets the timer of those that stay. Then asks again for those that came meanwhile.
    queue.grant_waiters();
    if is_needed {
        restock_in_runtime(queue);
    }
    // Last, because a rejection is reported to user code.
    observed.report(supply, now);
}

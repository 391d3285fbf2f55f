use std::{
    hash::Hash,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Wake,
};

use buttress_core::{Ambient, Attempt, Deadline, Join, MemberId, Progress, Relay, WatchdogHost};
use buttress_state::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
    lock,
};

use self::{membership::DynFlight, spare_leader::SpareLeader, valid_flags::ValidFlags};
use crate::cache::{ResourceGeneration, ValidFlag, forbid_caching};

mod drive;
mod join;
mod leave;
mod membership;
mod shard;
mod shared_result;
mod spare_leader;
mod table;
mod valid_flags;

pub use self::membership::FlightGuard;
pub(crate) use self::{
    drive::{WaitEnd, WorkResult},
    membership::Membership,
    shard::Joined,
    shared_result::SharedResult,
    table::FlightTable,
};

/// An inner call, shared by all callers of its key while the call is in progress.
///
/// No caller owns the call: its work lies in the relay, and runs under ambient values of the flight.
pub(crate) struct Flight<K, W, A> {
    relay: Relay<WorkSlot<W>>,
    result: OnceLock<A>,
    table: Arc<FlightTable<K, W, A>>,
    pub(crate) start: FlightStart,
    valid_flags: ValidFlags,
    /// The leader's deadline as announced to an inner service, if an inner layer enforces that value. A leaf
    /// lock. Not used if the leader has no deadline.
    announced: Mutex<Option<Deadline>>,
    /// The leader has left. Written in `leave` before the relay is left, see there.
    leader_left: AtomicBool,
    spare_leader: SpareLeader,
    /// The flight has not removed itself from the table. An invalidation removes a flight without this flag.
    in_table: AtomicBool,
}

/// The slot of a flight's work. Empty while the flight is idle.
pub(crate) type WorkSlot<W> = Pin<Box<Option<W>>>;

/// The start of a flight.
#[derive(Clone, Copy)]
pub(crate) struct FlightStart {
    pub(crate) hash: u64,
    /// The ambient values of the leader, under which the call is made.
    pub(crate) ambient: Ambient,
    pub(crate) attempt: Attempt,
    /// The generation of the resource when the flight began.
    pub(crate) resource_generation: ResourceGeneration,
}

impl<K, W, A: SharedResult> Flight<K, W, A> {
    /// Makes a flight with its leader. Reuses the allocation of the `idle` flight, if no other reference to
    /// it is left.
    #[inline]
    pub(crate) fn begin(
        start: FlightStart,
        (own, older): (Option<ValidFlag>, Option<ValidFlag>),
        work: impl FnOnce() -> W,
        idle: &mut Option<Arc<Self>>,
        table: &Arc<FlightTable<K, W, A>>,
    ) -> (Arc<Self>, MemberId) {
        if let Some(mut spent) = idle.take() {
            // No member, driver or waker holds the ended flight, so the stores below may be plain or
            // relaxed. `FlightTable::start` publishes them with the lock of the shard.
            if let Some(flight) = Arc::get_mut(&mut spent)
                // An idle flight has a result only if its key panicked when dropped, see `Flight::poll`.
                && flight.result.get().is_none()
                && let Some((slot, member)) = flight.relay.reuse(start.ambient)
            {
                slot.set(Some(work()));
                flight.start = start;
                if A::CACHES {
                    flight.valid_flags = ValidFlags { own, older };
                }
                // Without a deadline, neither `poll_work` nor `is_expired` looks at `announced`.
                if start.ambient.deadline.is_some() {
                    flight.announced = Mutex::new(None);
                }
                flight.leader_left.store(false, Ordering::Relaxed);
                flight.in_table.store(true, Ordering::Relaxed);
                return (spent, member);
            }
            *idle = Some(spent);
        }
        // Boxed: any member may poll the work, so the work is pinned apart from the members' futures. An ended
        // flight keeps the box for the next one.
        let (relay, member) = Relay::new(Box::pin(Some(work())), start.ambient);
        let flight = Self {
            relay,
            result: OnceLock::new(),
            table: Arc::clone(table),
            start,
            valid_flags: ValidFlags { own, older },
            announced: Mutex::new(None),
            leader_left: AtomicBool::new(false),
            spare_leader: SpareLeader::new(),
            in_table: AtomicBool::new(true),
        };
        (Arc::new(flight), member)
    }

    /// The result, or `None` while the call is in progress.
    #[inline]
    pub(crate) fn result(&self) -> Option<&A> {
        self.result.get()
    }

    /// Whether the leader has left.
    pub(crate) fn has_leader_left(&self) -> bool {
        // Relaxed: the lock of the relay orders this load after the store in `leave`.
        self.leader_left.load(Ordering::Relaxed)
    }

    /// Keeps the result of this flight, and of the flight that it replaced, out of the cache.
    pub(crate) fn forbid_caching(&self) {
        self.forbid_caching_of_older();
        self.valid_flags.own.iter().for_each(forbid_caching);
    }

    /// Keeps the result of the replaced flight out of the cache, because it would be older than the entry.
    fn forbid_caching_of_older(&self) {
        self.valid_flags.older.iter().for_each(forbid_caching);
    }

    /// Prepares the flight to be replaced in the table. Its result may still be cached until the newer flight
    /// clears the returned flag.
    pub(crate) fn replace(&self) -> Option<ValidFlag> {
        self.forbid_caching_of_older();
        self.valid_flags.own.clone()
    }

    /// Whether the deadline of a member has passed without a result.
    pub(crate) fn is_spent(&self) -> bool {
        self.relay.is_closed()
    }

    pub(crate) fn members(&self) -> usize {
        self.relay.members()
    }

    #[inline]
    pub(crate) fn ambient(&self) -> Ambient {
        self.relay.ambient()
    }

    /// Notes the deadline that was announced to an inner service while the work was polled. It belongs to
    /// the ambient deadline, or to the leader's, which a layer that makes the call later has noted.
    pub(crate) fn note_announced(&self) {
        let (ambient, first) = (Deadline::current(), self.start.ambient.deadline);
        let of_ambient = ambient.and_then(Deadline::announced);
        let announced = if of_ambient.is_none() && ambient != first {
            first.and_then(Deadline::announced)
        } else {
            of_ambient
        };
        if let Some(announced) = announced {
            // Never contended: only the member that drives takes the lock, here in `poll_work` and in
            // `is_expired` after the work has ended.
            let mut known = lock(&self.announced);
            *known = Deadline::earliest(*known, Some(announced));
        }
    }

    /// The leader's deadline as announced to an inner service.
    pub(crate) fn announced(&self) -> Option<Deadline> {
        *lock(&self.announced)
    }

    #[inline]
    fn run<R>(&self, ambient: Ambient, f: impl FnOnce() -> R) -> R {
        self.spare_leader.attempt(self.start.attempt).with(|| ambient.with(f))
    }
}

impl<K: Hash + Eq, W, A: SharedResult> Flight<K, W, A> {
    /// Joins a flight without a result, if the resource was not invalidated since the flight began. Under the
    /// lock of the shard, so that no flight is ended or recycled while a caller joins.
    #[inline]
    pub(crate) fn join(&self, ambient: Ambient) -> Join {
        // The lock of the relay is taken under the lock of the shard. In the other order,
        // `FlightTable::finish_alone` could deadlock with a join.
        let join = self.relay.join_in_time(ambient);
        if matches!(join, Join::Member(_)) {
            self.spare_leader.note_follower(self.start.attempt);
        }
        join
    }

    /// Whether the resource was invalidated between the start of this flight and that generation.
    #[inline]
    pub(crate) fn is_outdated(&self, resource_generation: ResourceGeneration) -> bool {
        self.start.resource_generation.is_before(resource_generation)
    }

    /// Whether a call at this generation of the resource could join.
    pub(crate) fn accepts_callers(&self, resource_generation: ResourceGeneration) -> bool {
        let progress = self.result.get().map(SharedResult::progress);
        !self.is_outdated(resource_generation)
            && !matches!(progress, Some(Progress::Closed | Progress::Lost))
            && !self.relay.is_closed()
    }

    /// Joins a flight that has a result, if the whole response can still be read. No lock of a shard may be held,
    /// because the mode of the user is asked.
    #[cold]
    pub(crate) fn join_answered(self: &Arc<Self>, result: &A, ambient: Ambient) -> Join
    where
        Self: DynFlight,
    {
        // The progress may change before `join_in_time`. `decide` looks again after it has restored the
        // response.
        if matches!(result.progress(), Progress::Closed | Progress::Lost) {
            return Join::Closed;
        }
        let join = self.relay.join_in_time(ambient);
        if let Join::Member(member) = join {
            // Leaves the flight if `expect_callers` panics.
            let membership = Membership::new(Arc::clone(self), member);
            result.expect_callers(1);
            membership.forget();
        }
        join
    }

    /// Starts the watchdog, so that members that are not polled delay the others by at most 10 ms.
    #[inline]
    pub(crate) fn watch(self: &Arc<Self>, member: MemberId)
    where
        Self: WatchdogHost,
    {
        self.relay.start_watchdog(member, self);
    }
}

impl<K, W, A> Wake for Flight<K, W, A>
where
    K: Send + Sync + 'static,
    W: Send + 'static,
    A: Send + Sync + 'static,
{
    fn wake(self: Arc<Self>) {
        // A wake after the end finds no work in the slot of the relay, and wakes no member.
        self.relay.wake_driver();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.relay.wake_driver();
    }
}

impl<K, W, A> WatchdogHost for Flight<K, W, A>
where
    K: Send + Sync + 'static,
    W: Send + 'static,
    A: Send + Sync + 'static,
{
    fn on_watchdog(&self) {
        self.relay.wake_if_stalled();
    }
}

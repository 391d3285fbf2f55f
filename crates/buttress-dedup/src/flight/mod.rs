use std::{
    hash::Hash,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Wake,
};

use buttress_core::{Ambient, Attempt, Deadline, Join, MemberId, Progress, Relay, WatchdogHost};

use self::valid_flags::ValidFlags;
use crate::{
    cache::{ResourceGeneration, ValidFlag, forbid_caching},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};

mod drive;
mod leave;
mod membership;
mod shard;
mod shared_result;
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

/// One call of the service, for everybody who asks for the same while it lasts.
///
/// It belongs to none of them: its work lies in the relay, and runs under the flight's own ambient
/// values.
pub(crate) struct Flight<K, W, A> {
    relay: Relay<WorkSlot<W>>,
    result: OnceLock<A>,
    table: Arc<FlightTable<K, W, A>>,
    pub(crate) start: FlightStart,
    valid_flags: ValidFlags,
    /// The deadline of the first caller as it came with the request, if a layer inside goes by that. A
    /// leaf lock, and nobody looks where the first caller has none.
    announced: Mutex<Option<Deadline>>,
    /// The first caller has gone.
    leader_left: AtomicBool,
    /// Still in the table, unless somebody has it forgotten.
    in_table: AtomicBool,
}

/// Where a flight's work lies. It is empty between two flights.
pub(crate) type WorkSlot<W> = Pin<Box<Option<W>>>;

/// How a flight begins.
#[derive(Clone, Copy)]
pub(crate) struct FlightStart {
    pub(crate) hash: u64,
    /// The terms of the first caller, on which the call is made.
    pub(crate) ambient: Ambient,
    pub(crate) attempt: Attempt,
    /// How often the subject had changed.
    pub(crate) resource_generation: ResourceGeneration,
}

impl<K, W, A: SharedResult> Flight<K, W, A> {
    /// A flight with its first member, made of the `idle` one that is over, if there is one that can be
    /// used again.
    #[inline]
    pub(crate) fn begin(
        start: FlightStart,
        (own, older): (Option<ValidFlag>, Option<ValidFlag>),
        work: impl FnOnce() -> W,
        idle: &mut Option<Arc<Self>>,
        table: &Arc<FlightTable<K, W, A>>,
    ) -> (Arc<Self>, MemberId) {
        if let Some(mut spent) = idle.take() {
            if let Some(flight) = Arc::get_mut(&mut spent)
                && flight.result.get().is_none()
                && let Some((slot, member)) = flight.relay.reuse(start.ambient)
            {
                slot.set(Some(work()));
                flight.start = start;
                if A::CACHES {
                    flight.valid_flags = ValidFlags { own, older };
                }
                if start.ambient.deadline.is_some() {
                    flight.announced = Mutex::new(None);
                }
                flight.leader_left.store(false, Ordering::Relaxed);
                flight.in_table.store(true, Ordering::Relaxed);
                return (spent, member);
            }
            *idle = Some(spent);
        }
        let (relay, member) = Relay::new(Box::pin(Some(work())), start.ambient);
        let flight = Self {
            relay,
            result: OnceLock::new(),
            table: Arc::clone(table),
            start,
            valid_flags: ValidFlags { own, older },
            announced: Mutex::new(None),
            leader_left: AtomicBool::new(false),
            in_table: AtomicBool::new(true),
        };
        (Arc::new(flight), member)
    }

    /// What it came to, once that is known.
    #[inline]
    pub(crate) fn result(&self) -> Option<&A> {
        self.result.get()
    }

    /// Whether its first caller has gone.
    pub(crate) fn has_leader_left(&self) -> bool {
        self.leader_left.load(Ordering::Relaxed)
    }

    /// What it brings is not kept, nor what the one before it does.
    pub(crate) fn forbid_caching(&self) {
        self.forbid_caching_of_older();
        self.valid_flags.own.iter().for_each(forbid_caching);
    }

    /// What the one before it brings would be older than what is there, or is to be.
    fn forbid_caching_of_older(&self) {
        self.valid_flags.older.iter().for_each(forbid_caching);
    }

    /// Another flight comes in its place. It may have its own answer kept for as long as that one flies.
    pub(crate) fn replace(&self) -> Option<ValidFlag> {
        self.forbid_caching_of_older();
        self.valid_flags.own.clone()
    }

    /// Whether it has let a caller down.
    pub(crate) fn is_spent(&self) -> bool {
        self.relay.is_closed()
    }

    pub(crate) fn members(&self) -> usize {
        self.relay.members()
    }

    pub(crate) fn ambient(&self) -> Ambient {
        self.relay.ambient()
    }

    /// Hears whether a layer inside goes by what was announced of the ambient deadline, under which the
    /// work has just been driven, or of the first caller's, which a layer that makes the call later has
    /// noted.
    pub(crate) fn note_announced(&self) {
        let (ambient, first) = (Deadline::current(), self.start.ambient.deadline);
        let of_ambient = ambient.and_then(Deadline::announced);
        let announced = if of_ambient.is_none() && ambient != first {
            first.and_then(Deadline::announced)
        } else {
            of_ambient
        };
        if let Some(announced) = announced {
            let mut known = lock(&self.announced);
            *known = Deadline::earliest(*known, Some(announced));
        }
    }

    /// What a layer inside took for the first caller's deadline.
    pub(crate) fn announced(&self) -> Option<Deadline> {
        *lock(&self.announced)
    }

    #[inline]
    fn run<R>(&self, ambient: Ambient, f: impl FnOnce() -> R) -> R {
        self.start.attempt.with(|| ambient.with(f))
    }
}

impl<K: Hash + Eq, W, A: SharedResult> Flight<K, W, A> {
    /// Joins, while everything is still to be had, for a call that knows of that many changes.
    #[inline]
    pub(crate) fn join(&self, ambient: Ambient, resource_generation: ResourceGeneration) -> Join {
        if self.start.resource_generation.is_before(resource_generation) {
            return Join::Closed;
        }
        let Some(result) = self.result.get() else { return self.relay.join_in_time(ambient) };
        if matches!(result.progress(), Progress::Closed | Progress::Lost) {
            return Join::Closed;
        }
        let entry = self.relay.join_in_time(ambient);
        if matches!(entry, Join::Member(_)) {
            // The others were counted before the answer was there.
            result.expect_caller();
        }
        entry
    }

    /// Whether a call that knows of that many changes could join.
    pub(crate) fn accepts_callers(&self, resource_generation: ResourceGeneration) -> bool {
        let progress = self.result.get().map(SharedResult::progress);
        !self.start.resource_generation.is_before(resource_generation)
            && !matches!(progress, Some(Progress::Closed | Progress::Lost))
            && !self.relay.is_closed()
    }

    /// Sees to it that members who are not polled delay nobody for long.
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

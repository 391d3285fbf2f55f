use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use buttress_core::{Attempt, Criticality, Deadline};

/// The state that the clones of a probe share: permits, waiters and counts.
///
/// No method wakes or drops a waker under the lock, because both are foreign code that may use the
/// probe.
pub(crate) struct Ledger<E> {
    state: Mutex<LedgerState<E>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InstanceId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallId(u64);

/// A permit taken from the pool. Only [`Ledger::end`] returns it.
pub(crate) struct ProbePermit;

#[derive(Default)]
pub(crate) struct ProbeCounts {
    pub(crate) calls: usize,
    pub(crate) polls: usize,
    pub(crate) ready_polls: usize,
    pub(crate) live: usize,
    pub(crate) abandoned: usize,
}

impl<E> Ledger<E> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(LedgerState {
                free: usize::MAX / 2,
                line: VecDeque::new(),
                slots: HashMap::new(),
                parked: HashMap::new(),
                pauses: 0,
                held: false,
                recording: false,
                breakdown: None,
                next: 0,
                counts: ProbeCounts::default(),
                violations: Vec::new(),
                ambient: Vec::new(),
                criticalities: Vec::new(),
            }),
        }
    }

    pub(crate) fn set_permits(&self, permits: usize) {
        self.lock().free = permits;
    }

    pub(crate) fn set_pauses(&self, polls: u32) {
        self.lock().pauses = polls;
    }

    pub(crate) fn set_recording(&self) {
        self.lock().recording = true;
    }

    pub(crate) fn hold(&self) {
        self.lock().held = true;
    }

    pub(crate) fn release(&self) {
        let parked: Vec<_> = {
            let mut state = self.lock();
            state.held = false;
            state.parked.values_mut().filter_map(|call| call.waker.take()).collect()
        };
        // After the lock: a waker may poll a call, which locks the ledger again.
        parked.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn break_down(&self, error: Breakdown<E>) {
        self.lock().breakdown = Some(error);
    }

    /// The error of a broken `poll_ready`, if there is one.
    pub(crate) fn breakdown(&self, instance: InstanceId) -> Option<Breakdown<E>> {
        let error = {
            let mut state = self.lock();
            let error = state.breakdown.clone()?;
            state.counts.ready_polls += 1;
            error
        };
        self.leave(instance);
        Some(error)
    }

    pub(crate) fn instance(&self) -> InstanceId {
        InstanceId(self.lock().number())
    }

    pub(crate) fn poll_reserve(&self, instance: InstanceId, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        state.counts.ready_polls += 1;
        if state.reserve_now(instance) {
            return Poll::Ready(());
        }
        if !state.slots.contains_key(&instance) {
            state.line.push_back(instance);
        }
        // The replaced waker is dropped after the lock.
        let before = state.slots.insert(instance, PermitSlot::Waiting(cx.waker().clone()));
        drop(state);
        drop(before);
        Poll::Pending
    }

    pub(crate) fn reserve_now(&self, instance: InstanceId) -> bool {
        self.lock().reserve_now(instance)
    }

    /// Starts a call with the permit of `instance`.
    #[expect(clippy::panic, reason = "the caller broke the contract of `Service`")]
    pub(crate) fn call(&self, instance: InstanceId) -> (CallId, Option<ProbePermit>) {
        let mut state = self.lock();
        state.counts.calls += 1;
        state.note_ambient();
        state.criticalities.push(Criticality::current());
        let call = state.counts.calls;
        let permit = match state.slots.get(&instance) {
            Some(PermitSlot::Granted) => {
                state.slots.remove(&instance);
                Some(ProbePermit)
            }
            _ if state.recording => {
                state.violations.push(call);
                None
            }
            _ => {
                drop(state);
                panic!("call {call} reached an instance of the probe that was not ready");
            }
        };
        state.counts.live += 1;
        let id = CallId(state.number());
        let pauses = state.pauses;
        let parked = Parked { pauses, waker: None };
        state.parked.insert(id, parked);
        (id, permit)
    }

    /// Ready once the call may be answered.
    pub(crate) fn poll_call(&self, call: CallId, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        state.counts.polls += 1;
        state.note_ambient();
        let held = state.held;
        let Some(parked) = state.parked.get_mut(&call) else {
            return Poll::Ready(());
        };
        if held {
            let before = parked.waker.replace(cx.waker().clone());
            drop(state);
            drop(before);
            return Poll::Pending;
        }
        if let Some(fewer) = parked.pauses.checked_sub(1) {
            parked.pauses = fewer;
            drop(state);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    pub(crate) fn end(&self, call: CallId, permit: Option<ProbePermit>, finished: bool) {
        let mut state = self.lock();
        state.counts.live -= 1;
        state.counts.abandoned += usize::from(!finished);
        let parked = state.parked.remove(&call);
        let next = permit.and_then(|ProbePermit| state.give_back());
        drop(state);
        drop(parked);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Returns the permit of `instance`, or removes it from the line.
    pub(crate) fn leave(&self, instance: InstanceId) {
        let mut state = self.lock();
        let slot = state.slots.remove(&instance);
        let next = if let Some(PermitSlot::Granted) = slot {
            state.give_back()
        } else {
            state.line.retain(|other| *other != instance);
            None
        };
        drop(state);
        drop(slot);
        if let Some(next) = next {
            next.wake();
        }
    }

    pub(crate) fn read(&self, count: impl FnOnce(&ProbeCounts) -> usize) -> usize {
        count(&self.lock().counts)
    }

    pub(crate) fn reserved(&self) -> usize {
        let state = self.lock();
        state.slots.len() - state.line.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().line.len()
    }

    pub(crate) fn violations(&self) -> Vec<usize> {
        self.lock().violations.clone()
    }

    pub(crate) fn ambient(&self) -> Vec<(Option<Deadline>, Attempt)> {
        self.lock().ambient.clone()
    }

    pub(crate) fn criticalities(&self) -> Vec<Criticality> {
        self.lock().criticalities.clone()
    }

    fn lock(&self) -> MutexGuard<'_, LedgerState<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct LedgerState<E> {
    free: usize,
    line: VecDeque<InstanceId>,
    /// The instances that wait in line or hold a permit.
    slots: HashMap<InstanceId, PermitSlot>,
    /// The live calls.
    parked: HashMap<CallId, Parked>,
    pauses: u32,
    held: bool,
    recording: bool,
    breakdown: Option<Breakdown<E>>,
    next: u64,
    counts: ProbeCounts,
    violations: Vec<usize>,
    ambient: Vec<(Option<Deadline>, Attempt)>,
    criticalities: Vec<Criticality>,
}

impl<E> LedgerState<E> {
    fn reserve_now(&mut self, instance: InstanceId) -> bool {
        match self.slots.get(&instance) {
            Some(PermitSlot::Granted) => true,
            Some(PermitSlot::Waiting(_)) => false,
            None if self.free == 0 || !self.line.is_empty() => false,
            None => {
                self.free -= 1;
                self.slots.insert(instance, PermitSlot::Granted);
                true
            }
        }
    }

    /// Passes a permit on to the instance that waits longest, whether polled or not, or returns the
    /// permit to the pool.
    fn give_back(&mut self) -> Option<Waker> {
        // First come, first served, like tokio's semaphore: a waiter that is never polled keeps its
        // permit.
        let Some(first) = self.line.pop_front() else {
            self.free += 1;
            return None;
        };
        let slot = self.slots.get_mut(&first)?;
        match mem::replace(slot, PermitSlot::Granted) {
            PermitSlot::Waiting(waker) => Some(waker),
            PermitSlot::Granted => None,
        }
    }

    fn note_ambient(&mut self) {
        self.ambient.push((Deadline::current(), Attempt::current()));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

enum PermitSlot {
    Waiting(Waker),
    Granted,
}

struct Parked {
    pauses: u32,
    waker: Option<Waker>,
}

type Breakdown<E> = Arc<dyn Fn() -> E + Send + Sync>;

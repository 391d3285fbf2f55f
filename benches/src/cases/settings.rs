//! The settings that all implementations of a pattern share.

use std::{
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use buttress::throttle::Rate;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::retry::{
    Policy,
    budget::{Budget, TpsBudget},
};

/// The retry policy that tower's documentation shows: a number of attempts and a budget.
#[derive(Clone)]
pub(crate) struct BudgetPolicy {
    left: u32,
    budget: Arc<TpsBudget>,
}

impl BudgetPolicy {
    pub(crate) fn new() -> Self {
        Self { left: ATTEMPTS - 1, budget: Arc::new(TpsBudget::default()) }
    }
}

impl<Req: Clone, Res, Err> Policy<Req, Res, Err> for BudgetPolicy {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Req, outcome: &mut Result<Res, Err>) -> Option<Ready<()>> {
        if outcome.is_ok() {
            self.budget.deposit();
            return None;
        }
        let granted = self.left > 0 && self.budget.withdraw();
        granted.then(|| {
            self.left -= 1;
            ready(())
        })
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// A rate that no bench reaches.
pub(crate) fn rate() -> Rate {
    Rate::per_second(PER_SECOND).burst(u32::MAX)
}

/// Takes a permit from a semaphore that all clones share. Never waits.
pub(crate) fn semaphore<Req>() -> impl Fn(&Req) -> Option<OwnedSemaphorePermit> + Clone + use<Req> {
    let permits = Arc::new(Semaphore::new(PERMITS));
    move |_| Arc::clone(&permits).try_acquire_owned().ok()
}

pub(crate) const TOWER: &str = "tower";
pub(crate) const ATTEMPTS: u32 = 3;
pub(crate) const ATTEMPT: Duration = Duration::from_secs(30);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);
pub(crate) const BUTTRESS: &str = "buttress";
pub(crate) const IN_FLIGHT: u32 = 1_000_000;
pub(crate) const PER_SECOND: u32 = 1_000_000_000;
pub(crate) const SEMAPHORE: &str = "tokio's `Semaphore`, by hand";
pub(crate) const PERMITS: usize = IN_FLIGHT as usize;

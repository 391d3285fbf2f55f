use buttress_state::Budget;

use super::{Client, client};
use crate::{
    ClientConfig, ClientHandle, Misfit, Misfits,
    handle::Handles,
    place::{
        AttemptPlace, BreakerPlace, DeadlinePlace, DedupPlace, FallbackPlace, HedgePlace,
        OrderPlace, RetryPlace, ThrottlePlace,
    },
};

impl<F, D, U, O, R, H, B, T, A> Client<F, D, U, O, R, H, B, T, A>
where
    F: FallbackPlace,
    D: DeadlinePlace,
    U: DedupPlace,
    O: OrderPlace,
    R: RetryPlace,
    H: HedgePlace,
    B: BreakerPlace,
    T: ThrottlePlace,
    A: AttemptPlace,
{
    /// Names the client and all its layers: `payments` names the retry `payments.retry`. Default:
    /// `"client"`.
    ///
    /// A layer that is put into a place later is named too.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.setup.name = name.into();
        self.renamed()
    }

    /// Makes the random numbers of retry, breaker and throttle repeatable, each with a stream of its
    /// own. Default: a random seed.
    ///
    /// A throttle starts with fresh state. The jitter of a cache has a
    /// [seed](buttress_dedup::Cache::seed) of its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.setup.seed = Some(seed);
        self.setup = self.setup.changed();
        let Self { fallback, deadline, dedup, order, hedge, attempt, .. } = self;
        Self {
            fallback,
            deadline,
            dedup,
            order,
            retry: self.setup.reseeded(4, self.retry),
            hedge,
            breaker: self.setup.reseeded(6, self.breaker),
            throttle: self.setup.reseeded(7, self.throttle),
            attempt,
            setup: self.setup,
        }
    }

    /// Sets the budget that pays for retries and hedges together. Default: the retry's own.
    ///
    /// A hedge is also paid from the hedge's own budget, 5 % of the calls unless set otherwise.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.setup.budget = Some(budget);
        self.setup = self.setup.changed();
        self.with_one_budget()
    }

    /// Returns the handle of all layers: numbers and settings. See [`ClientHandle`].
    pub fn handle(&self) -> ClientHandle {
        ClientHandle(self.setup.live(Handles {
            fallback: self.fallback.handle(),
            deadline: self.deadline.handle(),
            dedup: self.dedup.handle(),
            shared_cache: self.dedup.shared_cache(),
            order: self.order.handle(),
            retry: self.retry.handle(),
            hedge: self.hedge.handle(),
            breaker: self.breaker.handle(),
            throttle: self.throttle.handle(),
            attempt: self.attempt.handle(),
        }))
    }

    /// Returns all settings that contradict each other. The first service that the client makes
    /// reports them once for each name, as the event `stack.misfit`.
    pub fn misfits(&self) -> Vec<Misfit> {
        self.handle().misfits()
    }

    /// Applies `config` as [`ClientHandle::apply`] does. Clones share the settings.
    pub fn configure(self, config: &ClientConfig) -> Result<Self, Misfits> {
        self.handle().apply(config)?;
        Ok(self)
    }

    fn renamed(self) -> Self {
        let setup = self.setup;
        Self {
            fallback: self.fallback.renamed(setup.name_of("fallback")),
            deadline: self.deadline.renamed(setup.name_of("deadline")),
            dedup: self.dedup.renamed(setup.name_of("dedup")),
            order: self.order.renamed(setup.name_of("order")),
            retry: self.retry.renamed(setup.name_of("retry")),
            hedge: self.hedge.renamed(setup.name_of("hedge")),
            breaker: self.breaker.renamed(setup.name_of("breaker")),
            throttle: self.throttle.renamed(setup.name_of("throttle")),
            attempt: self.attempt.renamed(setup.name_of("attempt")),
            setup,
        }
    }

    /// Gives the user's budget to the retry, and the retry's budget to the hedge.
    pub(super) fn with_one_budget(mut self) -> Self {
        if let Some(budget) = &self.setup.budget {
            self.retry = self.retry.paid_from(budget.clone());
        }
        let is_free = match (self.hedge.shared(), &self.setup.hedge_budget) {
            (None, _) => true,
            (Some(budget), Some(ours)) => budget.shares_account_with(ours),
            (Some(_), None) => false,
        };
        if is_free {
            let budget = self.setup.budget.clone().or_else(|| self.retry.budget());
            self.hedge = self.hedge.sharing(budget);
        }
        // Read back, because an empty place keeps no budget, and a hedge may have come with its own.
        self.setup.hedge_budget = self.hedge.shared().filter(|_| is_free);
        self
    }
}

impl ClientConfig {
    /// Returns the standard [`client`] with these settings, or all misfits.
    ///
    /// For a client with other layers, use [`Client::configure`].
    pub fn build(&self) -> Result<Client, Misfits> {
        client().configure(self)
    }
}

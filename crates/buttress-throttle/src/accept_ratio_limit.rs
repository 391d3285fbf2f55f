use std::{convert::Infallible, fmt, sync::Arc};

use buttress_control::{AcceptRatio, Nanos, Random};
use buttress_core::{Criticality, Deadline, Guard, Verdict};

use crate::{
    epoch::Epoch,
    limit::{Admission, Ask, Fresh, Hold, Limit, Wait},
    refusal::{Refusal, Why},
    sync::is_only,
    tally::Tally,
};

/// Calls that the service would most likely not accept are not sent: the client-side throttling of
/// the SRE book, with an account of its own for each criticality.
#[derive(Clone)]
pub struct AcceptRatioLimit {
    pub(crate) accounts: Arc<Accounts>,
}

impl AcceptRatioLimit {
    pub(crate) fn new(law: &AcceptRatio) -> Self {
        Self { accounts: Arc::new(Accounts::new(law)) }
    }
}

impl<Req> Limit<Req> for AcceptRatioLimit {
    type Permit = Attempted;
    type Wait = Never;

    #[inline]
    fn admit(&self, _: &Req, ask: &Ask<'_>) -> Admission<Attempted, Never> {
        let accounts = &self.accounts;
        let Some(law) = accounts.of(ask.criticality) else { return Admission::Unlimited };
        if law.attempt(accounts.now(), accounts.random.draw()) {
            accounts.tally.add(ask.criticality);
            Admission::Admitted(Attempted {
                accounts: Some(Arc::clone(accounts)),
                criticality: ask.criticality,
                deadline: Deadline::current(),
            })
        } else {
            Admission::Refused(Refusal::new(Why::AcceptRatio))
        }
    }
}

impl Fresh for AcceptRatioLimit {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn fresh(&self) -> Self {
        Self { accounts: Arc::new(self.accounts.fresh()) }
    }

    fn is_idle(&self) -> bool {
        let now = self.accounts.now();
        let fresh = |law: &AcceptRatio| law.is_fresh(now);
        is_only(&self.accounts) && self.accounts.laws.iter().all(fresh)
    }

    fn admitted(&self) -> [u64; 4] {
        self.accounts.tally.counts()
    }
}

impl fmt::Debug for AcceptRatioLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptRatioLimit").finish_non_exhaustive()
    }
}

/// What is known of the service, by criticality: it may accept the one and not the other.
#[derive(Debug)]
pub(crate) struct Accounts {
    laws: [AcceptRatio; 4],
    tally: Tally,
    pub(crate) random: Random,
    epoch: Epoch,
}

impl Accounts {
    fn new(law: &AcceptRatio) -> Self {
        Self {
            laws: std::array::from_fn(|_| law.fresh()),
            tally: Tally::new(),
            random: Random::seeded(fastrand::u64(..)),
            epoch: Epoch::new(),
        }
    }

    fn fresh(&self) -> Self {
        Self {
            laws: self.laws.each_ref().map(AcceptRatio::fresh),
            tally: Tally::new(),
            // Other draws, and yet the same for the same seed.
            random: Random::seeded(self.random.draw().to_bits()),
            epoch: Epoch::new(),
        }
    }

    pub(crate) fn rejection(&self, criticality: Criticality) -> f64 {
        self.of(criticality).map_or(0.0, |law| law.rejection(self.now()))
    }

    fn of(&self, criticality: Criticality) -> Option<&AcceptRatio> {
        self.laws.get(criticality.index())
    }

    fn now(&self) -> Nanos {
        self.epoch.now()
    }
}

/// A call that was counted when it was made, and whose outcome is not known yet.
#[derive(Debug)]
pub struct Attempted {
    /// `None` once the outcome is known.
    accounts: Option<Arc<Accounts>>,
    criticality: Criticality,
    deadline: Option<Deadline>,
}

impl Attempted {
    fn end(&mut self, change: impl FnOnce(&AcceptRatio, Nanos)) {
        if let Some(accounts) = self.accounts.take()
            && let Some(law) = accounts.of(self.criticality)
        {
            change(law, accounts.now());
        }
    }
}

impl Guard for Attempted {}

impl Hold for Attempted {
    const OUTLIVES_HEAD: bool = false;

    fn settle(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Success | Verdict::Permanent => self.end(AcceptRatio::accept),
            // A layer further in said no, and the service was not asked.
            Verdict::Rejected { .. } => self.end(AcceptRatio::forget),
            _ => self.end(|_, _| {}),
        }
    }
}

impl Drop for Attempted {
    fn drop(&mut self) {
        // Given up before its time, a call says nothing. After it, the service has not answered.
        if !self.deadline.is_some_and(Deadline::has_passed) {
            self.end(AcceptRatio::forget);
        }
    }
}

/// Nobody waits here.
#[derive(Debug)]
pub struct Never(Infallible);

impl<P> Wait<P> for Never {
    fn poll_admit(
        &mut self,
        _: &mut std::task::Context<'_>,
        _: &crate::settings::Settings,
    ) -> std::task::Poll<Result<P, Refusal>> {
        match self.0 {}
    }
}

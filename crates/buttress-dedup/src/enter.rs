use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use buttress_core::{Classify, Respond, Terms};

use crate::{
    Inner, Policy, Seat, Setup,
    flight::{Flight, Member},
    flights::Joined,
    future::{Role, SeedIn, Stage},
    keys::Keys,
    landing::{apart, panicked, respond_seed, restore},
    part::PartOf,
    policy::Look,
    refresh::refresh,
    setup::{AnswerIn, KeptIn, KeyIn, WorkIn},
    work::Work,
};

/// Lets a call begin: with what is kept, in a flight, or alone.
#[inline]
pub(crate) fn enter<S, Req, C>(setup: &C, inner: S, request: Req) -> Stage<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let part = core.shared.state.registry.part(|| PartOf::<S, Req, C>::new(setup));
    let keyed = || {
        let key = core.keys.key(&core.mode, &request)?;
        let hash = part.flights.hash(&key);
        let subject = if C::Policy::KEEPS { core.keys.subject(&core.mode, &key) } else { None };
        Some((key, hash, subject))
    };
    match catch_unwind(AssertUnwindSafe(keyed)) {
        Ok(Some((key, hash, subject))) => {
            let call = Call { setup, part, hash, subject };
            match C::Policy::KEEPS {
                true => call.look(inner, request, key),
                false => match call.start(inner, request, key, None, None) {
                    Ok(stage) => stage,
                    Err(_) => unreachable!("nothing lands where nothing is kept"),
                },
            }
        }
        Ok(None) => apart(setup, inner, request),
        Err(payload) => {
            core.shared.meet(payload);
            panicked(setup, respond_seed(setup, &request))
        }
    }
}

/// A call with a key.
struct Call<'a, S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    setup: &'a C,
    part: &'a PartOf<S, Req, C>,
    hash: u64,
    subject: Option<u64>,
}

impl<S, Req, C> Call<'_, S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    /// Takes what is kept, or starts.
    fn look(self, mut inner: S, mut request: Req, mut key: KeyIn<S, Req, C>) -> Stage<S, Req, C> {
        let core = self.setup.core();
        loop {
            let landed = self.part.flights.landed(self.hash);
            let spare = match core.shared.policy.look(&self.part.shelf, &key, self.subject) {
                Look::Missing(spare) => spare,
                Look::Found { kept, stale, refresh } => match restore(self.setup, &kept) {
                    Some(outcome) => {
                        self.hit(stale);
                        let seed = respond_seed(self.setup, &request);
                        if refresh {
                            self.refresh(inner, request, key, kept);
                        }
                        let admit = |response| core.mode.admit(seed, response, None::<Seat>);
                        return Stage::Answered(outcome.map(admit));
                    }
                    None => None,
                },
            };
            match self.start(inner, request, key, landed, spare) {
                Ok(stage) => return stage,
                // An answer came between the look and the start.
                Err(call) => (inner, request, key) = call,
            }
        }
    }

    /// Joins a flight or starts one. Gives everything back if an answer has `landed` in the meantime.
    #[inline]
    fn start(
        &self,
        inner: S,
        request: Req,
        key: KeyIn<S, Req, C>,
        landed: Option<u64>,
        spare: Option<KeptIn<S, Req, C>>,
    ) -> Result<Stage<S, Req, C>, (S, Req, KeyIn<S, Req, C>)> {
        let seed = respond_seed(self.setup, &request);
        let terms = Terms::current();
        let mut call = Some((inner, request));
        let board = || {
            if C::Policy::KEEPS
                && let Some(joined) = self.part.flights.join(&key, self.hash, terms)
            {
                return Ok(joined);
            }
            self.depart(&mut call, key, terms, landed, spare)
        };
        // The key's `Eq` is the user's.
        match catch_unwind(AssertUnwindSafe(board)) {
            Ok(Ok(joined)) => Ok(self.aboard(joined, call, seed)),
            Ok(Err(key)) => match call {
                Some((inner, request)) => Err((inner, request, key)),
                None => unreachable!("a call that was taken has started"),
            },
            Err(payload) => {
                self.setup.core().shared.meet(payload);
                Ok(panicked(self.setup, seed))
            }
        }
    }

    /// Joins a flight, or starts one with the call.
    #[inline]
    fn depart(
        &self,
        call: &mut Option<(S, Req)>,
        key: KeyIn<S, Req, C>,
        terms: Terms,
        landed: Option<u64>,
        spare: Option<KeptIn<S, Req, C>>,
    ) -> Result<JoinedIn<S, Req, C>, KeyIn<S, Req, C>> {
        let core = self.setup.core();
        let policy = &core.shared.policy;
        let Some((_, request)) = call.as_ref() else { unreachable!("a call starts once") };
        let judged = Classify::seed(&core.mode, request);
        let shelf = &self.part.shelf;
        let order = policy.order(&core.mode, shelf, request, &key, self.subject, spare);
        let (fetch, ticket) = (policy.fetch(&order), policy.ticket(&order));
        let flights = &self.part.flights;
        flights.start(key, self.hash, terms, landed, || match call.take() {
            Some((inner, request)) => {
                let work = Work::new(inner, request, (order, judged), fetch);
                Flight::new(work, flights, self.hash, terms, ticket)
            }
            None => unreachable!("a call starts once"),
        })
    }

    #[inline]
    fn aboard(
        &self,
        joined: JoinedIn<S, Req, C>,
        call: Option<(S, Req)>,
        seed: SeedIn<S, Req, C>,
    ) -> Stage<S, Req, C> {
        match (joined, call) {
            (Joined::Joined(flight, place), Some((inner, request))) => {
                let instance = self.setup.core().shared.settings.origin.name();
                tracing::trace!(name: "dedup.joined", target: "buttress", instance);
                let role = Role::Later(inner, request, seed);
                Stage::Aboard { member: Member::new(flight, place), role }
            }
            (Joined::Inside, Some((inner, request))) => apart(self.setup, inner, request),
            (Joined::Led(flight, place) | Joined::Joined(flight, place), _) => {
                Stage::Aboard { member: Member::new(flight, place), role: Role::First(seed) }
            }
            (Joined::Inside, None) => panicked(self.setup, seed),
        }
    }

    fn hit(&self, stale: bool) {
        let shared = &self.setup.core().shared;
        shared.state.hits.add();
        if stale {
            shared.state.stale.add();
        }
        let instance = shared.settings.origin.name();
        tracing::trace!(name: "dedup.hit", target: "buttress", instance, stale);
    }

    /// Has a newer answer fetched, if nobody does so already.
    #[cold]
    fn refresh(&self, inner: S, request: Req, key: KeyIn<S, Req, C>, kept: KeptIn<S, Req, C>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let core = self.setup.core();
        let terms = core.shared.policy.refresh_terms();
        let mut call = Some((inner, request));
        let spare = Some(Arc::clone(&kept));
        let joined = self.depart(&mut call, key.clone(), terms, None, spare);
        if let Ok(Joined::Led(flight, place)) = joined {
            core.shared.state.refreshed.add();
            let instance = core.shared.settings.origin.name();
            tracing::debug!(name: "dedup.refreshed", target: "buttress", instance);
            let member = Member::new(flight, place);
            let shelf = Arc::clone(&self.part.shelf);
            runtime.spawn(refresh(self.setup.clone(), member, shelf, key, kept, terms));
        }
    }
}

type JoinedIn<S, Req, C> = Joined<KeyIn<S, Req, C>, WorkIn<S, Req, C>, AnswerIn<S, Req, C>>;

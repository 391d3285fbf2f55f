use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use buttress_core::{Attempt, Classify, Freshness, Respond, Terms};

use super::{
    AnswerIn, Err, KeptIn, KeyIn, Shared, WorkIn,
    future::{ModeResponse, Role, SeedIn, Stage},
    outcome::{apart, can_restore, hit, not_cached, panicked, respond_seed, restore},
    refresh::Refreshing,
    typed_state::PartOf,
    work::Work,
};
use crate::{
    Inner, Policy, Seat, Setup,
    cache::{About, Fetch, Look, Shelf},
    flight::{Joined, Launch, Member},
    key::Keys,
};

/// Lets a call begin: with what is kept, in a flight, or alone.
#[inline]
pub(crate) fn enter<S, Req, C>(setup: &C, inner: &S, request: Req) -> Stage<S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    let core = setup.core();
    let part = core.shared.state.registry.part(|| PartOf::<S, Req, C>::new(setup));
    let keyed = || {
        let (key, wanted) = core.keys.lookup(&core.mode, &request)?;
        if wanted.only_if_cached && !C::Policy::KEEPS {
            // For a cache further on: this layer is none.
            return None;
        }
        let is_needed = C::Policy::KEEPS || part.shelf.has_changed();
        let subject = if is_needed { core.keys.subject(&core.mode, &key) } else { None };
        Some((key, subject, wanted))
    };
    match catch_unwind(AssertUnwindSafe(keyed)) {
        Ok(Some((key, subject, wanted))) => {
            // Nearly all want nothing particular, and none does in a mode that does not say so.
            let wanted = (wanted != Freshness::default()).then_some(&wanted);
            let call = Call { setup, part, inner, subject, wanted };
            if C::Policy::KEEPS {
                call.look(request, key)
            } else {
                match call.start(request, key, None, None) {
                    Ok(stage) => stage,
                    Err(_) => unreachable!("nothing lands where nothing is kept"),
                }
            }
        }
        Ok(None) => apart(setup, inner.clone(), request),
        Err(payload) => {
            core.shared.panicked(payload);
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
    inner: &'a S,
    subject: Option<u64>,
    /// `None` for any answer that may be given out.
    wanted: Option<&'a Freshness>,
}

impl<S, Req, C> Call<'_, S, Req, C>
where
    S: Inner<Req>,
    Req: Send + 'static,
    C: Setup<S, Req>,
{
    /// Takes what is kept, or starts.
    fn look(self, mut request: Req, mut key: KeyIn<S, Req, C>) -> Stage<S, Req, C> {
        let core = self.setup.core();
        loop {
            let landed = self.part.flights.landed();
            // A store asks for the key's `Hash` and `Eq`, and to restore is to run the user's `Clone`.
            let sought = match catch_unwind(AssertUnwindSafe(|| self.seek(&key))) {
                Ok(sought) => sought,
                Err(payload) => {
                    core.shared.panicked(payload);
                    return panicked(self.setup, respond_seed(self.setup, &request));
                }
            };
            let spare = match sought {
                Sought::Missing(_) if self.is_only_if_cached() => {
                    return not_cached(self.setup, &request);
                }
                Sought::Missing(spare) => spare,
                Sought::Hit { outcome, kept, stale, refresh } => {
                    hit(self.setup, stale);
                    let seed = respond_seed(self.setup, &request);
                    if refresh && !self.is_only_if_cached() {
                        // The answer is there, whatever becomes of a newer one.
                        let refresh = || self.refresh(request, key, kept, landed);
                        if let Err(payload) = catch_unwind(AssertUnwindSafe(refresh)) {
                            core.shared.panicked(payload);
                        }
                    }
                    let admit = |response| core.mode.admit(seed, response, None::<Seat>);
                    return Stage::Answered(outcome.map(admit));
                }
            };
            match self.start(request, key, Some(landed), spare) {
                Ok(stage) => return stage,
                // An answer came between the look and the start.
                Err(call) => (request, key) = call,
            }
        }
    }

    #[inline]
    fn is_only_if_cached(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted.only_if_cached)
    }

    /// What is kept, as this caller's own outcome.
    #[inline]
    fn seek(&self, key: &KeyIn<S, Req, C>) -> SoughtIn<S, Req, C> {
        let policy = &self.setup.core().shared.policy;
        match policy.look(&self.part.shelf, key, self.subject, self.wanted) {
            Look::Missing(spare) => {
                Sought::Missing(spare.filter(|spare| can_restore(self.setup, spare)))
            }
            Look::Found { kept, stale, refresh } => match restore(self.setup, &kept, stale) {
                Some(outcome) => Sought::Hit { outcome, kept, stale, refresh },
                None => Sought::Missing(None),
            },
        }
    }

    /// Joins a flight or starts one. Gives everything back if an answer has `landed` in the meantime.
    #[inline]
    fn start(
        &self,
        request: Req,
        key: KeyIn<S, Req, C>,
        landed: Option<u64>,
        spare: Option<KeptIn<S, Req, C>>,
    ) -> Begun<S, Req, C> {
        let seed = respond_seed(self.setup, &request);
        let terms = Terms::current();
        // A clone is the service's own code, so not under the lock.
        let mut call = Some((self.inner.clone(), request));
        let board = || {
            let launch = self.launch(&key, terms);
            if C::Policy::KEEPS
                && let Some(joined) =
                    self.part.flights.join(&key, launch.hash, terms, launch.version)
            {
                return Ok(joined);
            }
            self.depart(&mut call, key, launch, landed, spare)
        };
        // The key's `Hash` and `Eq` are the user's.
        match catch_unwind(AssertUnwindSafe(board)) {
            Ok(Ok(joined)) => Ok(self.aboard(joined, call, seed)),
            Err(payload) => {
                self.setup.core().shared.panicked(payload);
                Ok(panicked(self.setup, seed))
            }
            Ok(Err(key)) => match call {
                Some((_, request)) => Err((request, key)),
                None => unreachable!("a call that was taken has started"),
            },
        }
    }

    /// How a flight of `key` would begin.
    #[inline]
    fn launch(&self, key: &KeyIn<S, Req, C>, terms: Terms) -> Launch {
        let hash = self.part.flights.hash(key);
        // Before the call is made: what changes from here on ends the flight for those who come after.
        let version = self.part.shelf.version(self.subject);
        Launch { hash, terms, attempt: Attempt::current(), version }
    }

    /// Joins a flight, or starts one with the call.
    #[inline]
    fn depart(
        &self,
        call: &mut Option<(S, Req)>,
        key: KeyIn<S, Req, C>,
        launch: Launch,
        landed: Option<u64>,
        spare: Option<KeptIn<S, Req, C>>,
    ) -> Result<JoinedIn<S, Req, C>, KeyIn<S, Req, C>> {
        let core = self.setup.core();
        let policy = &core.shared.policy;
        let Some((_, request)) = call.as_ref() else { unreachable!("a call starts once") };
        let judged = Classify::seed(&core.mode, request);
        let changes = core.keys.changes(&core.mode, request);
        let place = &self.part.shelf;
        let weight = if C::Policy::KEEPS { core.keys.weight(&core.mode, &key) } else { 0 };
        let about = About { subject: self.subject, weight, wanted: self.wanted.copied() };
        let order = policy.order(&core.mode, place, request, &key, about, spare);
        let mut fetch = policy.fetch(&order);
        let ticket = policy.ticket(&order);
        let doubts = fetch.is_some() && policy.doubts(&order);
        self.part.flights.start(key, launch, ticket, landed, |is_late| match call.take() {
            Some((inner, request)) => {
                // Before it is a part of the work, which is better made in its place than moved there.
                if let Some(fetch) = fetch.as_mut().filter(|_| is_late || doubts) {
                    fetch.hasten();
                }
                Work::new(inner, request, (order, judged, changes), fetch)
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
            (Joined::Followed(flight, place), Some((inner, request))) => {
                let instance = self.setup.core().shared.settings.origin.name();
                tracing::trace!(name: "dedup.joined", target: "buttress", instance);
                flight.watch(place);
                let role = Role::Later(inner, request, seed);
                let (member, setup) = (Member::new(flight, place), self.setup.clone());
                Stage::Aboard { member, role, setup }
            }
            (Joined::Inside, Some((inner, request))) => apart(self.setup, inner, request),
            (Joined::Led(flight, place) | Joined::Followed(flight, place), _) => {
                let (member, setup) = (Member::new(flight, place), self.setup.clone());
                Stage::Aboard { member, role: Role::First(seed), setup }
            }
            (Joined::Inside, None) => panicked(self.setup, seed),
        }
    }

    /// Has a newer answer fetched, if nobody does so already, unless something `landed` since the look.
    #[cold]
    fn refresh(&self, request: Req, key: KeyIn<S, Req, C>, kept: KeptIn<S, Req, C>, landed: u64) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Shared { policy, state, settings } = &*self.setup.core().shared;
        if !policy.claim(&kept) {
            return;
        }
        let spare = Some(Arc::clone(&kept));
        let refreshing = Refreshing::new(self.setup.clone(), Arc::clone(&self.part.shelf), kept);
        let terms = policy.refresh_terms();
        let mut call = Some((self.inner.clone(), request));
        // It is nobody's second attempt, and for all who come later.
        let for_all = Self { wanted: None, ..*self };
        let depart = || {
            let launch = for_all.launch(&key, terms);
            for_all.depart(&mut call, key, launch, Some(landed), spare)
        };
        let (flight, place) = match Attempt::FIRST.with(depart) {
            Ok(Joined::Led(flight, place)) => (flight, place),
            Ok(Joined::Followed(flight, place)) => {
                drop(Member::new(flight, place));
                return refreshing.call_off();
            }
            Ok(Joined::Inside) | Err(_) => return refreshing.call_off(),
        };
        state.refreshed.add();
        let instance = settings.origin.name();
        tracing::debug!(name: "dedup.refreshed", target: "buttress", instance);
        runtime.spawn(refreshing.run(Member::new(flight, place), terms));
    }
}

/// What was found for a key.
enum Sought<O, V> {
    Hit {
        outcome: O,
        kept: V,
        stale: bool,
        refresh: bool,
    },
    /// Nothing, but for what may serve in place of a failure.
    Missing(Option<V>),
}

type SoughtIn<S, Req, C> = Sought<Result<ModeResponse<S, Req, C>, Err<S, Req>>, KeptIn<S, Req, C>>;

/// A call that has begun, or is given back.
type Begun<S, Req, C> = Result<Stage<S, Req, C>, (Req, KeyIn<S, Req, C>)>;

type JoinedIn<S, Req, C> = Joined<KeyIn<S, Req, C>, WorkIn<S, Req, C>, AnswerIn<S, Req, C>>;

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use buttress_control::{AcceptRatio, Nanos, Random, RequestEnd, SentRequest};
use buttress_core::{Attempt, Criticality, Deadline, Guard, Upload, UploadWait, Verdict};
use buttress_state::{LimitClock, sync::is_only};

use crate::limit::{
    Admission, CallInfo, CountsByCriticality, KeyLimit, Limit, LimitPermit, LimitTemplate,
    LocalLimit, Refusal, RefusalReason, Seeded, Wait, sealed,
};

/// Client-side throttling of the SRE book: calls that the service would most likely not accept are
/// not sent. Each criticality has its own counts.
#[derive(Clone)]
#[doc(alias("client-side throttling", "adaptive throttling"))]
pub struct AcceptRatioLimit {
    pub(crate) state: Arc<AcceptRatioState>,
}

impl AcceptRatioLimit {
    pub(crate) fn new(law: &AcceptRatio) -> Self {
        Self { state: Arc::new(AcceptRatioState::new(law)) }
    }
}

impl<Req> Limit<Req> for AcceptRatioLimit {
    type Permit = SentCall;
    type Wait = NeverWaits;
    type KeyPermit = SentCall;
    type KeyWait = NeverWaits;

    #[inline]
    fn admit(&self, _: &Req, call: &CallInfo<'_>) -> Admission<SentCall, NeverWaits> {
        let state = &self.state;
        // Never `None`: there is a law for each criticality.
        let Some(law) = state.of(call.criticality) else { return Admission::Unlimited };
        let Some(sent) = law.send(state.now(), state.random.draw()) else {
            return state.refuse(law);
        };
        state.admitted.add(call.criticality);
        Admission::Admitted(SentCall {
            state: Some(Arc::clone(state)),
            sent,
            criticality: call.criticality,
            deadline: Deadline::current(),
            upload: None,
        })
    }

    #[inline]
    fn admit_key(
        limit: Arc<KeyLimit<Self>>,
        request: &Req,
        call: &CallInfo<'_>,
    ) -> Admission<SentCall, NeverWaits> {
        limit.0.admit(request, call)
    }
}

impl sealed::Sealed for AcceptRatioLimit {}

impl LocalLimit for AcceptRatioLimit {}

impl LimitTemplate for AcceptRatioLimit {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn fresh(&self) -> Self {
        Self { state: Arc::new(self.state.fresh()) }
    }

    fn is_idle(&self) -> bool {
        let now = self.state.now();
        let fresh = |law: &AcceptRatio| law.is_fresh(now);
        // A call in flight holds an `Arc` of the state. No lock: the laws are atomics.
        is_only(&self.state) && self.state.laws.iter().all(fresh)
    }

    fn admitted(&self) -> [u64; 4] {
        self.state.admitted.counts()
    }
}

impl Seeded for AcceptRatioLimit {
    fn with_seed(&self, seed: u64) -> Self {
        let state = AcceptRatioState { random: Random::seeded(seed), ..self.state.fresh() };
        Self { state: Arc::new(state) }
    }
}

impl fmt::Debug for AcceptRatioLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptRatioLimit").finish_non_exhaustive()
    }
}

/// The laws by criticality, because a service may accept calls of one criticality and not of
/// another.
#[derive(Debug)]
pub(crate) struct AcceptRatioState {
    laws: [AcceptRatio; 4],
    admitted: CountsByCriticality,
    random: Random,
    clock: LimitClock,
}

impl AcceptRatioState {
    fn new(law: &AcceptRatio) -> Self {
        Self {
            laws: std::array::from_fn(|_| law.fresh()),
            admitted: CountsByCriticality::new(),
            random: Random::seeded(fastrand::u64(..)),
            clock: LimitClock::new(),
        }
    }

    fn fresh(&self) -> Self {
        Self {
            laws: self.laws.each_ref().map(AcceptRatio::fresh),
            admitted: CountsByCriticality::new(),
            // Draws of its own, which the same seed repeats.
            random: Random::seeded(self.random.draw().to_bits()),
            clock: LimitClock::new(),
        }
    }

    pub(crate) fn rejection(&self, criticality: Criticality) -> f64 {
        self.of(criticality).map_or(0.0, |law| law.rejection_probability(self.now()))
    }

    #[cold]
    fn refuse<P, W>(&self, law: &AcceptRatio) -> Admission<P, W> {
        // `send` has counted the request. A refused spare call is no request: otherwise hedges that
        // were never sent would make the calls that they accompany less likely to be sent.
        if Attempt::current().is_spare() {
            law.forget(self.now());
        }
        Admission::Refused(Refusal::new(RefusalReason::AcceptRatio))
    }

    fn of(&self, criticality: Criticality) -> Option<&AcceptRatio> {
        self.laws.get(criticality.index())
    }

    fn now(&self) -> Nanos {
        self.clock.now()
    }
}

/// A call that was sent, and whose outcome is not known yet.
#[derive(Debug)]
pub struct SentCall {
    /// `None` once the outcome is known.
    state: Option<Arc<AcceptRatioState>>,
    sent: SentRequest,
    criticality: Criticality,
    deadline: Option<Deadline>,
    /// `None` if the request body was complete from the start.
    upload: Option<Upload>,
}

impl SentCall {
    fn end(&mut self, how: RequestEnd) {
        // Taken, so that a settled call does not end again on drop.
        if let Some(state) = self.state.take()
            && let Some(law) = state.of(self.criticality)
        {
            law.end(state.now(), self.sent, how);
        }
    }

    /// `how`, unless the request body was to blame for the end of the call. Then the call does not
    /// count.
    fn unless_its_body(
        &self,
        is_to_blame: impl FnOnce(UploadWait) -> bool,
        how: RequestEnd,
    ) -> RequestEnd {
        let upload = self.upload.as_ref().map(Upload::waited);
        if upload.is_some_and(is_to_blame) { RequestEnd::Void } else { how }
    }
}

impl Guard for SentCall {}

impl LimitPermit for SentCall {
    const OUTLIVES_HEAD: bool = false;

    fn watch(&mut self, upload: impl FnOnce() -> Option<Upload>) {
        self.upload = upload();
    }

    fn forget(&mut self) {
        self.end(RequestEnd::Void);
    }

    fn settle(&mut self, verdict: Verdict) {
        self.end(match verdict {
            Verdict::Success | Verdict::Permanent => RequestEnd::Accepted,
            // A layer further in rejected the call, so the service did not see it.
            Verdict::Rejected { .. } => RequestEnd::Void,
            Verdict::Throttled(_) => RequestEnd::Failed,
            Verdict::TimedOut | Verdict::Expired => {
                self.unless_its_body(is_unfinished, RequestEnd::Failed)
            }
            _ => self.unless_its_body(|waited| waited == UploadWait::Failed, RequestEnd::Failed),
        });
    }
}

impl Drop for SentCall {
    fn drop(&mut self) {
        if self.state.is_none() {
            return;
        }
        self.end(if self.deadline.is_some_and(Deadline::has_passed) {
            self.unless_its_body(is_unfinished, RequestEnd::Failed)
        } else {
            // The lateness must not be the caller's doing.
            let waited =
                |waited| !matches!(waited, UploadWait::For(Duration::ZERO) | UploadWait::Unknown);
            self.unless_its_body(waited, RequestEnd::GivenUp)
        });
    }
}

/// Whether the service still waited for the body, or the body failed.
const fn is_unfinished(waited: UploadWait) -> bool {
    matches!(waited, UploadWait::Ongoing | UploadWait::Failed)
}

/// The wait of a limit without a queue. It has no values.
#[derive(Debug)]
pub struct NeverWaits(Infallible);

impl<P> Wait<P> for NeverWaits {
    fn poll_admit(
        &mut self,
        _: &mut std::task::Context<'_>,
        _: &crate::limit::Settings,
    ) -> std::task::Poll<Result<P, Refusal>> {
        match self.0 {}
    }
}

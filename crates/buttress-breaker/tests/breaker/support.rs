//! A service behind a circuit breaker. Each request says how the service replies to it.

use std::{
    error::Error as StdError,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_breaker::{
    Backoff, Breaker, BreakerHandle, BreakerLayer, CircuitRules, CircuitState, OneCircuit,
};
use buttress_core::{By, Plain, Reason, Rejection, Verdict};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};

/// How the service replies to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// With an answer.
    Answer,
    /// With an answer after this time.
    AnswerAfter(Duration),
    /// With an error that means this.
    Error(Verdict),
    /// With an error that means this, after this time.
    ErrorAfter(Duration, Verdict),
    Never,
    Panic,
}

pub(crate) const FAIL: Reply = Reply::Error(Verdict::Transient);

/// An error of the service, or a rejection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Error {
    Judged(Verdict),
    Rejected(Rejection),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl StdError for Error {}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Error {
    pub(crate) fn rejection(self) -> Rejection {
        match self {
            Self::Rejected(rejection) => rejection,
            Self::Judged(verdict) => panic!("no rejection, but {verdict:?}"),
        }
    }
}

pub(crate) type Upstream = BoxCloneService<Reply, (), Error>;
pub(crate) type Judge = By<fn(Result<&(), &Error>) -> Verdict>;
pub(crate) type Service = Breaker<Upstream, Plain, OneCircuit, Judge>;

pub(crate) fn judge(outcome: Result<&(), &Error>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Success,
        Err(Error::Judged(verdict)) => *verdict,
        Err(Error::Rejected(rejection)) => Verdict::from_rejection(rejection),
    }
}

/// A service that replies as its requests say, and the number of its calls.
pub(crate) fn upstream() -> (Upstream, Arc<AtomicUsize>) {
    let calls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    let serve = move |reply| {
        counted.fetch_add(1, Ordering::Relaxed);
        serve(reply)
    };
    (service_fn(serve).boxed_clone(), calls)
}

async fn serve(reply: Reply) -> Result<(), Error> {
    match reply {
        Reply::Answer => Ok(()),
        Reply::AnswerAfter(delay) => {
            sleep(delay).await;
            Ok(())
        }
        Reply::Error(verdict) => Err(Error::Judged(verdict)),
        Reply::ErrorAfter(delay, verdict) => {
            sleep(delay).await;
            Err(Error::Judged(verdict))
        }
        Reply::Never => std::future::pending().await,
        Reply::Panic => panic!("as told"),
    }
}

/// A breaker over [`upstream`].
pub(crate) struct Case {
    pub(crate) service: Service,
    pub(crate) handle: BreakerHandle,
    calls: Arc<AtomicUsize>,
}

impl Case {
    pub(crate) fn new(layer: BreakerLayer) -> Self {
        let (upstream, calls) = upstream();
        let handle = layer.handle();
        let layer = layer.classify(judge as fn(Result<&(), &Error>) -> Verdict);
        Self { service: layer.layer(upstream), handle, calls }
    }

    /// A circuit that five failures opened, at the end of its interval of 1 s.
    pub(crate) async fn after_interval(layer: BreakerLayer) -> Self {
        let case = Self::new(layer.open_for(Backoff::constant(SECOND)));
        case.many(5, FAIL).await;
        assert_eq!(case.state(), CircuitState::Open);
        advance(SECOND).await;
        case
    }

    /// A circuit after its probes have succeeded.
    pub(crate) async fn in_ramp(layer: BreakerLayer) -> Self {
        let case = Self::after_interval(layer).await;
        case.many(3, Reply::Answer).await;
        assert_eq!(case.state(), CircuitState::Ramp);
        case
    }

    pub(crate) async fn call(&self, reply: Reply) -> Result<(), Error> {
        self.service.clone().oneshot(reply).await
    }

    /// Calls one after the other. None may be rejected.
    pub(crate) async fn many(&self, calls: usize, reply: Reply) {
        for call in 0..calls {
            let outcome = self.call(reply).await;
            assert!(!matches!(outcome, Err(Error::Rejected(_))), "call {call} was rejected");
        }
    }

    /// A call that the circuit rejects.
    pub(crate) async fn rejected(&self) -> Rejection {
        let rejection = self.call(Reply::Answer).await.unwrap_err().rejection();
        assert_eq!(rejection.reason(), Reason::CircuitOpen);
        rejection
    }

    pub(crate) fn state(&self) -> CircuitState {
        self.handle.state()
    }

    /// Calls, failures and slow calls of the window.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let counts = self.handle.counts();
        [counts.calls, counts.failures, counts.slow]
    }

    /// The calls that reached the service.
    pub(crate) fn served(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

pub(crate) fn rules() -> CircuitRules {
    CircuitRules::new()
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

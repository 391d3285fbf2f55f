use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_core::{Deadline, Signals, Spent};
use tower_layer::Layer;

use super::{
    caller::{CallEnd, Caller, Spinning},
    handle_use::HandleUse,
};
use crate::{Clause, Dialect, Heard, Probe, Subject};

/// A check of a layer: the service that the layer made over a new probe.
pub(crate) struct Trial<D: Dialect, S> {
    pub(crate) dialect: Arc<D>,
    pub(crate) probe: ProbeOf<D>,
    pub(crate) handle_use: HandleUse,
    service: S,
    failing: Arc<AtomicBool>,
    signalling: Arc<AtomicBool>,
    without: Rc<[Clause]>,
}

pub(crate) type ProbeOf<D> =
    Probe<<D as Dialect>::Request, <D as Dialect>::Response, <D as Dialect>::Error>;

/// A broken clause, and how it shows.
pub(crate) struct Breach {
    pub(crate) clause: Clause,
    pub(crate) how: String,
}

pub(crate) type CheckResult = Result<(), Breach>;

impl<D: Dialect, S> Trial<D, S> {
    pub(crate) fn new<L>(
        layer: &L,
        dialect: Arc<D>,
        handle_use: HandleUse,
        without: Rc<[Clause]>,
    ) -> Self
    where
        L: Layer<ProbeOf<D>, Service = S>,
    {
        let failing = Arc::new(AtomicBool::new(false));
        let signalling = Arc::new(AtomicBool::new(false));
        let (fails, signals) = (Arc::clone(&failing), Arc::clone(&signalling));
        let probe = Probe::new(move |request| {
            if signals.load(Ordering::SeqCst) {
                // A failure is not degraded: a layer that replaces the failure raises this signal.
                if !fails.load(Ordering::SeqCst) {
                    Signals::raise_degraded();
                }
                Signals::raise_deadline(Deadline::after(Self::LONG));
                Signals::raise_spent(Self::SPENT);
            }
            if fails.load(Ordering::SeqCst) { D::fail(request) } else { Ok(D::answer(request)) }
        })
        .recording();
        let service = layer.layer(probe.clone());
        Self { dialect, probe, handle_use, service, failing, signalling, without }
    }

    /// Sets the number of permits of the probe.
    pub(crate) fn permits(&self, permits: usize) {
        drop(self.probe.clone().permits(permits));
    }

    /// Makes each call pending for this many polls.
    pub(crate) fn pausing(&self, polls: u32) {
        drop(self.probe.clone().pausing(polls));
    }

    /// Makes every call fail.
    pub(crate) fn failing(&self) {
        self.failing.store(true, Ordering::SeqCst);
    }

    /// Sets whether every outcome comes with signals.
    pub(crate) fn signalling(&self, on: bool) {
        self.signalling.store(on, Ordering::SeqCst);
    }

    /// Whether a new instance gets a permit now.
    pub(crate) fn serves_strangers(&self) -> bool {
        self.probe.reserve().is_some()
    }

    /// A breach of `clause`, unless `kept` or not asked for.
    pub(crate) fn require(
        &self,
        clause: Clause,
        kept: bool,
        how: impl FnOnce() -> String,
    ) -> CheckResult {
        if kept || self.without.contains(&clause) {
            return Ok(());
        }
        Err(Breach { clause, how: how() })
    }

    /// Every called instance had been polled ready.
    pub(crate) fn require_instance(&self) -> CheckResult {
        let violations = self.probe.violations();
        self.require(Clause::Instance, violations.is_empty(), || {
            let call = violations.first().copied().unwrap_or_default();
            format!(
                "call {call} reached an instance that had not been polled ready: \
                 call the instance that was, and leave a clone in its place (`take_ready`)"
            )
        })
    }

    /// Calls that are over leave nothing behind in the service, while the handles live on.
    pub(crate) fn require_rest(&self, when: &str) -> CheckResult {
        let (reserved, waiting) = (self.probe.reserved(), self.probe.waiting());
        self.require(Clause::Reservation, reserved == 0 && waiting == 0, || {
            format!("{when}, {reserved} instances hold a permit and {waiting} wait for one")
        })?;
        let live = self.probe.live();
        self.require(Clause::Cancellation, live == 0, || {
            format!("{when}, {live} calls to the service still live")
        })
    }

    /// A long time in which nothing else happens.
    pub(crate) const LONG: Duration = Duration::from_secs(24 * 60 * 60);

    /// The calls that a signalling probe has spent.
    pub(crate) const SPENT: Spent = Spent::new(3, 2);
}

impl<D, S> Trial<D, S>
where
    D: Dialect,
    S: Subject<D>,
{
    pub(crate) fn caller(&self) -> Caller<S, D::Request> {
        Caller::new(self.service.clone(), self.handle_use)
    }

    pub(crate) fn request(&self, number: u32) -> D::Request {
        self.dialect.request(number)
    }

    /// The meaning of an end. A call must not end with an error of `poll_ready`.
    pub(crate) fn hear(&self, end: CallEnd<S::Response, S::Error>) -> Result<Heard, Breach> {
        match end {
            CallEnd::Ended(outcome) => Ok(S::understand(&self.dialect, outcome)),
            CallEnd::Unready(error) => {
                let heard = S::understand(&self.dialect, Err(error));
                self.require(Clause::Rejection, false, || {
                    format!("poll_ready failed, though the service did not: {heard:?}")
                })?;
                Ok(heard)
            }
        }
    }

    /// Waits for the end of a call.
    pub(crate) async fn finish(
        &self,
        caller: &mut Caller<S, D::Request>,
        what: &str,
    ) -> Result<Heard, Breach> {
        match caller.finish(Self::LONG).await {
            Ok(Some(end)) => self.hear(end),
            Ok(None) => {
                self.require(Clause::Waking, false, || format!("{what} was never woken to end"))?;
                Ok(Heard::Other("no end".to_owned()))
            }
            Err(spinning) => {
                self.require_quiet(spinning, what)?;
                Ok(Heard::Other("a spinning future".to_owned()))
            }
        }
    }

    pub(crate) fn require_quiet(&self, _: Spinning, what: &str) -> CheckResult {
        self.require(Clause::Quiet, false, || {
            format!("{what} was pending, and asked to be polled over and over")
        })
    }
}

/// Lets spawned tasks run, without advancing the time.
pub(crate) async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

use std::{mem, time::Duration};

use crate::Nanos;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};
use crate::sync::lock;

use super::host::{CircuitHost, CircuitOpen, CircuitOutcome};
use super::turn::tell;
use super::word::CircuitWord;
use super::{Circuit, CircuitChange, CircuitCore, CircuitPass, CircuitState};

impl Circuit {
    #[cold]
    pub(super) fn admit_unless_open(
        &self,
        is_spare: bool,
        host: &impl CircuitHost,
    ) -> Result<Option<CircuitPass>, CircuitOpen> {
        // Acquire: pairs with the release in `turn`, so that an open circuit's interval is that of its word.
        let word = CircuitWord(self.word.load(Acquire));
        match word.state() {
            CircuitState::Closed => return Ok(Some(word.pass(0))),
            CircuitState::Disabled => return Ok(None),
            CircuitState::Isolated => return Err(CircuitOpen { retry_after: None }),
            CircuitState::Open => {
                // Without the lock: all callers of an open circuit come this way.
                let left = self.open_until.load(Relaxed).saturating_sub(host.now().get());
                if left > 0 || is_spare {
                    return Err(CircuitOpen { retry_after: Some(Duration::from_nanos(left)) });
                }
            }
            _ if is_spare => return Err(CircuitOpen { retry_after: Some(Duration::ZERO) }),
            _ => {}
        }
        let mut core = lock(&self.core);
        let (answer, change) = self.admit_under_lock(&mut core, host);
        drop(core);
        if change.is_some() {
            // The caller has no pass yet. If the host panics, the place of a probe must come back.
            let unheard = GiveBack { circuit: self, pass: answer.ok().flatten(), host };
            tell(host, change);
            mem::forget(unheard);
        }
        answer
    }

    fn admit_under_lock(
        &self,
        core: &mut CircuitCore,
        host: &impl CircuitHost,
    ) -> (Result<Option<CircuitPass>, CircuitOpen>, Option<CircuitChange>) {
        let now = host.now();
        let mut change = None;
        if let Some(next) = core.phase.due(&core.rules, now, self.is_interval_over(now)) {
            change = Some(self.follow(core, now, next, host));
        }
        let word = CircuitWord(self.word.load(Relaxed));
        let answer = match word.state() {
            CircuitState::Closed => Ok(Some(word.pass(0))),
            CircuitState::Disabled => Ok(None),
            CircuitState::Isolated => Err(None),
            CircuitState::Open => {
                let left = self.open_until.load(Relaxed).saturating_sub(now.get());
                Err(Some(Duration::from_nanos(left)))
            }
            CircuitState::HalfOpen | CircuitState::Ramp => core
                .phase
                .admit(&core.rules, now, || host.draw())
                .map(|probe| Some(word.pass(probe)))
                .map_err(Some),
        };
        (answer.map_err(|retry_after| CircuitOpen { retry_after }), change)
    }

    fn is_interval_over(&self, now: Nanos) -> bool {
        self.state() == CircuitState::Open && now.get() >= self.open_until.load(Relaxed)
    }
}

/// Gives the place of a probe back when it is dropped, which happens only while unwinding.
struct GiveBack<'a, H: CircuitHost> {
    circuit: &'a Circuit,
    pass: Option<CircuitPass>,
    host: &'a H,
}

impl<H: CircuitHost> Drop for GiveBack<'_, H> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass {
            self.circuit.settle(pass, CircuitOutcome::Neutral, false, self.host);
        }
    }
}

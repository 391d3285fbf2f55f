use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use buttress_state::sync::{Mutex, lock};

use super::{Handles, unknown_sections::unknown_sections};
use crate::{
    Misfit, Misfits,
    config::{ClientConfig, merged},
    misfit::{Facts, contradictions, ranges},
};

/// A stack that runs: its handles, and the settings that change.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) preset: &'static str,
    pub(crate) name: String,
    pub(crate) handles: Handles,
    /// Whether the hedge is paid from the budget of the retry too.
    is_shared: bool,
    turns: Arc<Turns>,
}

/// What the handles and the services of a stack share besides its layers.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The settings that the program gave.
    built: OnceLock<ClientConfig>,
    /// The latest settings that were applied. The lock orders those who apply.
    applied: Mutex<Applied>,
    has_reported: AtomicBool,
}

#[derive(Debug, Default)]
struct Applied {
    number: u64,
    config: ClientConfig,
}

impl Turns {
    /// Whether no service of the stack has reported its misfits.
    pub(crate) fn is_first_report(&self) -> bool {
        // Relaxed: the flag orders no other memory. Read first, because axum makes a service for each
        // route, and the flag is shared.
        !self.has_reported.load(Ordering::Relaxed)
            && !self.has_reported.swap(true, Ordering::Relaxed)
    }
}

impl Live {
    /// Takes the present settings for those of the program, unless `turns` has begun before.
    pub(crate) fn new(
        preset: &'static str,
        name: String,
        handles: Handles,
        is_shared: bool,
        turns: Arc<Turns>,
    ) -> Self {
        let live = Self { preset, name, handles, is_shared, turns };
        live.built();
        live
    }

    /// Emits the misfits.
    pub(crate) fn report(&self) {
        if let Some(misfits) = Misfits::of(self.misfits()) {
            let instance = &*self.name;
            tracing::warn!(name: "stack.misfit", target: "buttress", instance, %misfits);
        }
    }

    pub(crate) fn misfits(&self) -> Vec<Misfit> {
        let config = self.handles.config();
        let mut misfits = ranges(&config);
        misfits.extend(contradictions(&config, &self.facts()));
        misfits
    }

    /// Applies all of `config`, or nothing.
    pub(crate) fn apply(&self, config: &ClientConfig) -> Result<(), Misfits> {
        let all = merged(config, self.built());
        let mut misfits = unknown_sections(config, self.built(), &self.handles);
        misfits.extend(ranges(config));
        misfits.extend(contradictions(&all, &self.facts()));
        if let Some(misfits) = Misfits::of(misfits) {
            return Err(misfits);
        }
        self.set(all);
        Ok(())
    }

    fn set(&self, config: ClientConfig) {
        let mut applied = lock(&self.turns.applied);
        self.handles.set(&config);
        *applied = Applied { number: applied.number.wrapping_add(1), config };
        drop(applied);
        self.set_throttle();
    }

    /// Sets the throttle to the latest settings that were applied.
    ///
    /// A raised limit wakes calls, and a waker may be user code, so this runs without the lock. The
    /// loop ends when nothing was applied meanwhile: of several threads, the last one to set the limit
    /// sets the latest.
    fn set_throttle(&self) {
        let Some(throttle) = &self.handles.throttle else { return };
        loop {
            let applied = lock(&self.turns.applied);
            let (number, config) = (applied.number, applied.config.clone());
            drop(applied);
            throttle.set(&config.concurrency, &config.rate);
            if lock(&self.turns.applied).number == number {
                return;
            }
        }
    }

    fn facts(&self) -> Facts {
        self.handles.facts(self.is_shared)
    }

    fn built(&self) -> &ClientConfig {
        self.turns.built.get_or_init(|| self.handles.config())
    }
}

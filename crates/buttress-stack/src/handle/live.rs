use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
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
    /// The names under which services have reported the misfits of the stack.
    reported: Mutex<HashSet<String>>,
}

#[derive(Debug, Default)]
struct Applied {
    number: u64,
    config: ClientConfig,
}

impl Turns {
    /// Whether no service of the stack has reported its misfits under this name.
    pub(crate) fn is_first_report(&self, name: &str) -> bool {
        let mut reported = lock(&self.reported);
        // Looked up first, because axum makes a service for each route, all of one name.
        !reported.contains(name)
            && reported.len() < MOST_REPORTS
            && reported.insert(name.to_owned())
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

/// The most names under which a stack reports its misfits.
const MOST_REPORTS: usize = 1024;

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use buttress_core::{PerThread, StateScope, ThreadCopy};

use crate::settings::{DeadlineState, Settings};

/// The settings of a layer or service, and for each thread what its calls write.
#[derive(Debug)]
pub(crate) struct SharedSettings {
    settings: Settings,
    threads: PerThread<ThreadSettings>,
}

impl SharedSettings {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, threads: PerThread::new() }
    }

    /// Returns the settings for a further service, with state of its own under `per_service`.
    pub(crate) fn for_service(self: &Arc<Self>) -> Arc<Self> {
        match self.scope {
            StateScope::PerLayer => Arc::clone(self),
            StateScope::PerService => Arc::new(Self::new(self.with_fresh_state())),
        }
    }

    /// Returns the reference to the settings that a call of this thread keeps.
    #[inline]
    pub(crate) fn of_thread(&self) -> &Arc<ThreadCopy<ThreadSettings>> {
        self.threads.get_or_make(|| ThreadSettings {
            settings: self.settings.clone(),
            calls: Arc::clone(self.state.calls.get_or_make(AtomicU64::default)),
        })
    }
}

impl Deref for SharedSettings {
    type Target = Settings;

    #[inline]
    fn deref(&self) -> &Settings {
        &self.settings
    }
}

/// The settings of the calls of a thread.
#[derive(Debug)]
pub(crate) struct ThreadSettings {
    settings: Settings,
    /// That of this thread in [`DeadlineState::calls`].
    calls: Arc<ThreadCopy<AtomicU64>>,
}

impl ThreadSettings {
    /// Counts a call.
    #[inline]
    pub(crate) fn note_call(&self) {
        // Relaxed, as all counters of `DeadlineState` are.
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl Deref for ThreadSettings {
    type Target = Settings;

    #[inline]
    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl DeadlineState {
    pub(crate) fn calls(&self) -> u64 {
        self.calls.copies().map(|calls| calls.load(Ordering::Relaxed)).sum()
    }
}

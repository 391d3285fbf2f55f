use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::StateScope;
use crate::{PerThread, ThreadCopy};

/// The options of a layer, with the state that its services share. For [`SharedSettings`].
pub trait LayerSettings: Clone {
    /// Returns which services share the state.
    fn scope(&self) -> StateScope;

    /// Returns the number of the calls, which is part of the state.
    fn calls(&self) -> &CallCount;

    /// Returns the same options with fresh state.
    fn with_fresh_state(&self) -> Self;
}

/// The settings of a layer or service, and for each thread what its calls write.
#[derive(Debug)]
pub struct SharedSettings<T> {
    settings: T,
    threads: PerThread<CallSettings<T>>,
}

impl<T: LayerSettings> SharedSettings<T> {
    /// Creates the value of a new layer.
    pub fn new(settings: T) -> Self {
        Self { settings, threads: PerThread::new() }
    }

    /// Returns the changed settings. The value that others hold stays as it is.
    #[must_use]
    pub fn changed(&self, change: impl FnOnce(&mut T)) -> Arc<Self> {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Arc::new(Self::new(settings))
    }

    /// Returns the settings for a further service, with state of its own under `per_service`.
    #[must_use]
    pub fn for_service(self: &Arc<Self>) -> Arc<Self> {
        match self.settings.scope() {
            StateScope::PerLayer => Arc::clone(self),
            StateScope::PerService => Arc::new(Self::new(self.settings.with_fresh_state())),
        }
    }

    /// Returns the reference to the settings that a call of this thread keeps.
    #[inline]
    pub fn of_thread(&self) -> &Arc<ThreadCopy<CallSettings<T>>> {
        self.threads.get_or_make(|| CallSettings {
            settings: self.settings.clone(),
            calls: Arc::clone(self.settings.calls().0.get_or_make(AtomicU64::default)),
        })
    }
}

impl<T> Deref for SharedSettings<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.settings
    }
}

/// The settings of the calls of a thread.
#[derive(Debug)]
pub struct CallSettings<T> {
    // A clone and not an `Arc`, so that a call reads its options without a further step.
    settings: T,
    /// That of this thread in [`LayerSettings::calls`].
    calls: Arc<ThreadCopy<AtomicU64>>,
}

impl<T> CallSettings<T> {
    /// Counts a call.
    #[inline]
    pub fn note_call(&self) {
        // Relaxed: the count stands for itself, and orders no other memory.
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> Deref for CallSettings<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.settings
    }
}

/// The number of the calls of a layer, counted for each thread.
#[derive(Debug, Default)]
pub struct CallCount(PerThread<AtomicU64>);

impl CallCount {
    /// Returns the number of calls so far.
    pub fn sum(&self) -> u64 {
        self.0.copies().map(|calls| calls.load(Ordering::Relaxed)).sum()
    }
}

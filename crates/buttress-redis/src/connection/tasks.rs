use std::{
    panic::catch_unwind,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::Duration,
};

use buttress_state::sync::lock;
use tokio::{runtime::Handle, task::JoinSet, time::sleep};

/// The tasks of a store. They end with the last handle of the store.
#[derive(Debug)]
pub(crate) struct Tasks(Mutex<Option<JoinSet<()>>>);

impl Tasks {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Some(JoinSet::new())))
    }

    /// Runs `task` on the present runtime. Without a runtime that has timers, and after the
    /// [end](Self::end), `task` is dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return };
        // tokio panics if the runtime has no timers.
        if catch_unwind(|| drop(sleep(Duration::ZERO))).is_err() {
            return;
        }
        let mut tasks = lock(&self.0);
        let Some(tasks) = tasks.as_mut() else { return };
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &runtime);
    }

    /// Ends all tasks, and lets no other task begin.
    pub(super) fn end(&self) {
        let tasks = lock(&self.0).take();
        // Outside of the lock: a task that is dropped may want to begin another.
        drop(tasks);
    }
}

/// Whether a task runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct IsRunning(Arc<AtomicBool>);

impl IsRunning {
    /// Claims the task. `None`: the task runs already.
    pub(crate) fn claim(&self) -> Option<Claim> {
        let was_running = self.0.swap(true, AcqRel);
        (!was_running).then(|| Claim(Arc::clone(&self.0)))
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Acquire)
    }
}

/// The right to run a task. If it is dropped, also by the end of the task's runtime, another task
/// may run.
#[derive(Debug)]
pub(crate) struct Claim(Arc<AtomicBool>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

use std::cell::Cell;
use std::thread;

use tokio::time::Instant;

/// The simulation that runs on this thread.
#[derive(Clone, Copy)]
pub(super) struct Simulation {
    pub(super) seed: u64,
    pub(super) start: Instant,
}

impl Simulation {
    /// Seeds the thread until the guard is dropped.
    pub(super) fn begin(seed: u64) -> RestoreThread {
        let generator = fastrand::get_seed();
        fastrand::seed(seed);
        CURRENT.set(Some(Self { seed, start: Instant::now() }));
        RestoreThread { generator }
    }

    pub(super) fn current() -> Option<Self> {
        CURRENT.get()
    }
}

/// Ends the simulation of this thread, and restores its generator.
pub(super) struct RestoreThread {
    generator: u64,
}

impl Drop for RestoreThread {
    fn drop(&mut self) {
        if let (Some(simulation), true) = (CURRENT.take(), thread::panicking()) {
            let (seed, after) = (simulation.seed, simulation.start.elapsed());
            eprintln!("the simulation with seed {seed} panicked after {after:?} of virtual time");
        }
        fastrand::seed(self.generator);
    }
}

thread_local! {
    static CURRENT: Cell<Option<Simulation>> = const { Cell::new(None) };
}

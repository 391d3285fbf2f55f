use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_control::Backoff;
use buttress_core::Origin;

use crate::{Budget, Stop, pace::Pace};

/// What a layer was told, and the state its services share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) budget: Budget,
    pub(crate) learning: Learning,
    pub(crate) state: Arc<State>,
}

impl Settings {
    pub(crate) fn new(attempts: u32) -> Self {
        Self {
            origin: Origin::new("retry"),
            attempts,
            backoff: Backoff::default(),
            budget: Budget::default(),
            learning: Learning::Off,
            state: Arc::new(State::seeded(fastrand::u64(..))),
        }
    }
}

/// Whether the usual time of an attempt is learned, and attempts that cannot finish are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learning {
    Off,
    On,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) pace: Pace,
    pub(crate) retries: AtomicU64,
    stops: [AtomicU64; Stop::ALL.len()],
    random: AtomicU64,
}

impl State {
    fn seeded(seed: u64) -> Self {
        Self {
            pace: Pace::default(),
            retries: AtomicU64::new(0),
            stops: Default::default(),
            random: AtomicU64::new(seed),
        }
    }

    pub(crate) fn seed(&self, seed: u64) {
        self.random.store(seed, Ordering::Relaxed);
    }

    /// A uniform draw from [0, 1), by `SplitMix64`: the draws of all calls form one sequence.
    pub(crate) fn draw(&self) -> f64 {
        let mut z = self.random.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds exactly")]
        let uniform = (z >> 11) as f64 / (1_u64 << 53) as f64;
        uniform
    }

    pub(crate) fn stopped(&self, why: Stop) -> Option<&AtomicU64> {
        let place = Stop::ALL.iter().position(|stop| *stop == why)?;
        self.stops.get(place)
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

use std::num::NonZeroU64;

/// What a circuit does with calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// All calls pass, and their outcomes are counted.
    #[default]
    Closed,
    /// No call passes until the interval has ended.
    Open,
    /// A fixed number of calls pass, and decide.
    HalfOpen,
    /// A growing share of the calls passes.
    Ramp,
    /// All calls pass, and nothing is counted.
    Disabled,
    /// No call passes until the last isolation has ended.
    Isolated,
}

impl CircuitState {
    /// All states.
    pub const ALL: &'static [Self] =
        &[Self::Closed, Self::Open, Self::HalfOpen, Self::Ramp, Self::Disabled, Self::Isolated];

    /// The name in events and metrics: `closed`, `open`, `half_open`, `ramp`, `disabled` or `isolated`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Ramp => "ramp",
            Self::Disabled => "disabled",
            Self::Isolated => "isolated",
        }
    }
}

/// The state of a circuit in one word, so that a success of an older generation cannot slip into the next
/// between a load and an add: generation (40 bits), state (4), `dates_each` (1), undated successes (19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CircuitWord(pub(super) u64);

impl CircuitWord {
    pub(super) const fn new(generation: u64, state: CircuitState) -> Self {
        let dates_each = if matches!(state, CircuitState::Closed) { DATES_EACH } else { 0 };
        Self(generation << GENERATION_SHIFT | (state as u64) << STATE_SHIFT | dates_each)
    }

    #[inline]
    pub(super) const fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    #[inline]
    pub(super) const fn is_closed(self) -> bool {
        self.0 & STATE_MASK == 0
    }

    pub(super) const fn state(self) -> CircuitState {
        match (self.0 & STATE_MASK) >> STATE_SHIFT {
            0 => CircuitState::Closed,
            1 => CircuitState::Open,
            2 => CircuitState::HalfOpen,
            3 => CircuitState::Ramp,
            4 => CircuitState::Disabled,
            _ => CircuitState::Isolated,
        }
    }

    /// Successes that no slot of the window holds yet.
    #[inline]
    pub(super) const fn undated(self) -> u64 {
        self.0 & UNDATED_MASK
    }

    /// The word with one undated success more, if a success needs no clock now.
    #[inline]
    pub(super) const fn with_success(self) -> Option<Self> {
        let is_batched = self.0 & (STATE_MASK | DATES_EACH) == 0;
        if is_batched && self.undated() < BATCH - 1 { Some(Self(self.0 + 1)) } else { None }
    }

    #[inline]
    pub(super) fn pass(self, probe: u32) -> CircuitPass {
        // The first generation is 1, so the word is never 0.
        let word = self.generation() << GENERATION_SHIFT | u64::from(probe);
        CircuitPass(NonZeroU64::new(word).unwrap_or(NonZeroU64::MIN))
    }
}

/// The right of a call to report its outcome to the circuit that admitted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitPass(NonZeroU64);

impl CircuitPass {
    #[inline]
    pub(super) const fn generation(self) -> u64 {
        self.0.get() >> GENERATION_SHIFT
    }

    /// The number of a probe. `None` for a call that is none.
    pub(super) fn probe(self) -> Option<u32> {
        u32::try_from(self.0.get() & PROBE_MASK).ok().filter(|probe| *probe > 0)
    }

    /// Whether the call is a probe of a half-open circuit.
    pub const fn is_probe(self) -> bool {
        self.0.get() & PROBE_MASK != 0
    }
}

/// A success in this many reads the clock, while the calls are that dense.
pub(super) const BATCH: u64 = if cfg!(buttress_loom) { 2 } else { 16 };

/// Each success is dated by itself.
pub(super) const DATES_EACH: u64 = 1 << 19;
pub(super) const UNDATED_MASK: u64 = DATES_EACH - 1;
pub(super) const MAX_PROBE: u32 = (1 << GENERATION_SHIFT) - 1;
const GENERATION_SHIFT: u32 = 24;
const STATE_SHIFT: u32 = 20;
const STATE_MASK: u64 = 0xf << STATE_SHIFT;
const PROBE_MASK: u64 = (1 << GENERATION_SHIFT) - 1;

use buttress_control::Delays;
use buttress_core::Attempt;

use crate::budget::Paid;

/// The state of a call after its first failed attempt.
#[derive(Debug)]
pub(crate) struct Tries {
    /// The current attempt.
    pub(crate) attempt: Attempt,
    pub(crate) delays: Delays,
    pub(crate) free: FreeAttempts,
    /// The payment for the current attempt.
    pub(crate) paid: Option<Paid>,
}

impl Tries {
    pub(crate) const fn new() -> Self {
        let free = FreeAttempts { never_processed: false, rejected: false };
        Self { attempt: Attempt::FIRST, delays: Delays::new(), free, paid: None }
    }
}

/// The free attempts that were made, by kind. Each kind is free once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreeAttempts {
    pub(crate) never_processed: bool,
    pub(crate) rejected: bool,
}

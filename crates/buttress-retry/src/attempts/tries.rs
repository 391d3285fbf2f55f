use buttress_control::Delays;
use buttress_core::Attempt;

use crate::budget::Paid;

/// What a call knows once an attempt has failed: in a box, so that a call that succeeds has no room for it.
#[derive(Debug)]
pub(crate) struct Tries {
    /// The current one.
    pub(crate) attempt: Attempt,
    pub(crate) delays: Delays,
    pub(crate) free: FreeAttempts,
    /// What was paid for the current attempt.
    pub(crate) paid: Option<Paid>,
}

impl Tries {
    pub(crate) const fn new() -> Self {
        let free = FreeAttempts { never_processed: false, rejected: false };
        Self { attempt: Attempt::FIRST, delays: Delays::new(), free, paid: None }
    }
}

/// What has been repeated once without being paid for, and without counting as an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreeAttempts {
    pub(crate) never_processed: bool,
    pub(crate) rejected: bool,
}

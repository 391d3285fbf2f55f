use buttress_control::Delays;
use buttress_core::{Attempt, Spent};
use buttress_state::Paid;

/// The state of a call after its first failed attempt.
#[derive(Debug)]
pub(crate) struct Tries {
    /// The current attempt.
    pub(crate) attempt: Attempt,
    pub(crate) delays: Delays,
    pub(crate) free: FreeAttempts,
    /// The payment for the current attempt.
    pub(crate) paid: Option<Paid>,
    /// The calls that layers below made for the attempts before the current one.
    pub(crate) spent_below: Spent,
}

impl Tries {
    pub(crate) const fn new() -> Self {
        let free = FreeAttempts { never_processed: false, rejected: false };
        Self {
            attempt: Attempt::FIRST,
            delays: Delays::new(),
            free,
            paid: None,
            spent_below: Spent::new(0, 0),
        }
    }

    /// The calls that were made beside the first attempt, except those below the current attempt.
    pub(crate) fn spent(&self) -> Spent {
        let retries = self.attempt.number().saturating_sub(1);
        self.spent_below.plus(Spent::new(u16::try_from(retries).unwrap_or(u16::MAX), 0))
    }
}

/// The free attempts that were made, by kind. Each kind is free once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreeAttempts {
    pub(crate) never_processed: bool,
    pub(crate) rejected: bool,
}

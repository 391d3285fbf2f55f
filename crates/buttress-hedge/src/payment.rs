use buttress_state::{Paid, Withdrawal};

/// The payment for a hedge that was not sent. Dropping the payment refunds it.
pub(crate) struct HedgePayment {
    pub(crate) own: Withdrawal,
    pub(crate) shared: Option<Withdrawal>,
}

impl HedgePayment {
    /// Keeps the payment, because the hedge is sent.
    pub(crate) fn spend(self) -> HedgePaid {
        HedgePaid { own: self.own.spend(), shared: self.shared.and_then(Withdrawal::spend) }
    }
}

/// The payment for a hedge that was sent.
#[derive(Clone, Copy)]
pub(crate) struct HedgePaid {
    pub(crate) own: Option<Paid>,
    pub(crate) shared: Option<Paid>,
}

use std::fmt;

/// A clause of the contract between a layer and its surroundings.
///
/// The message of a failed [`contract`](crate::contract) begins with the broken clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Clause {
    /// The layer calls the instance that was polled ready, never a clone of it.
    ///
    /// A clone has reserved nothing: `ConcurrencyLimit`, `Buffer` and tonic's `Channel` panic if a
    /// clone is called.
    Instance,
    /// While the service is not ready, neither is the layer: `Pending` stays `Pending`, and does
    /// not count as "full".
    ///
    /// A layer that is ready at once and waits inside the response future hides the backpressure
    /// from an outer load shedder or balancer.
    Backpressure,
    /// The layer rejects in `call`, never as an error of `poll_ready`.
    ///
    /// An error of `poll_ready` means that the service is broken for good.
    Rejection,
    /// If a call is rejected or dropped, its reservation in the service is returned, so that
    /// another caller can have it. That holds while the handle lives on, too.
    Reservation,
    /// Dropping the response future drops the call at once.
    Cancellation,
    /// A successful call makes a single call of the service.
    Once,
    /// The service's responses are passed on unchanged.
    Response,
    /// The service's errors are passed on unchanged, those of `poll_ready` included.
    Error,
    /// A pending future is not polled until there is something new.
    Quiet,
    /// A waiting caller is woken at the end of the wait, by the waker of its last poll.
    Waking,
    /// The service runs under the caller's ambient deadline or an earlier deadline. Afterwards the
    /// caller finds its own deadline and attempt again.
    Ambient,
    /// The [`Signals`](buttress_core::Signals) that came with an outcome reach the layer outside, in
    /// the poll that returns the outcome. No other outcome comes with them.
    ///
    /// A layer that returns an outcome in another poll than the one that produced it must watch the
    /// former poll, and raise the signals again.
    Signals,
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "the instance that was readied is the one called",
            Self::Backpressure => "Pending stays Pending and is not read as full",
            Self::Rejection => "a rejection is made in call, not as an error of poll_ready",
            Self::Reservation => "nothing reserved is stranded",
            Self::Cancellation => "dropping the response drops the call",
            Self::Once => "one call is one call",
            Self::Response => "responses are handed on as they are",
            Self::Error => "errors are handed on as they are",
            Self::Quiet => "what is pending is not polled without need",
            Self::Waking => "whoever waits is woken",
            Self::Ambient => "the ambient deadline only shrinks, and is put back",
            Self::Signals => "signals come with their outcome, and with no other",
        })
    }
}

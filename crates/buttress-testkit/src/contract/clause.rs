use std::fmt;

/// One clause of the contract a layer keeps with whatever stands around it.
///
/// The message of a failed [`contract`](crate::contract) begins with the clause that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Clause {
    /// The instance that was polled ready is the one that is called, never a clone of it.
    ///
    /// A clone has reserved nothing: `ConcurrencyLimit`, `Buffer` and tonic's `Channel` panic when
    /// it is called.
    Instance,
    /// While the service is not ready, neither is the layer: `Pending` stays `Pending`, and is not
    /// read as "full".
    ///
    /// A layer that says it is ready at once and waits inside the response future hides the
    /// backpressure from a shedder or balancer above it.
    Backpressure,
    /// A rejection is made in `call`, never as an error of `poll_ready`.
    ///
    /// An error of `poll_ready` means that the service is broken for good.
    Rejection,
    /// What was reserved in the service is given back when a call is rejected or dropped, also while
    /// the handle lives on, so that a stranger can have it.
    Reservation,
    /// Dropping the response future drops the call, at once.
    Cancellation,
    /// One call that succeeds is one call to the service.
    Once,
    /// The service's responses are handed on as they are.
    Response,
    /// The service's errors are handed on as they are, those of `poll_ready` too.
    Error,
    /// What is pending is not polled until there is something new.
    Quiet,
    /// Whoever waits is woken when the wait is over, by the waker of its last poll.
    Waking,
    /// The service runs under the caller's ambient deadline or an earlier one, and the caller finds
    /// its own deadline and attempt again afterwards.
    Ambient,
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
        })
    }
}

use crate::Nanos;

/// A request that was sent, and has not ended yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "a request that never ends counts as one that the service did not accept"]
pub struct SentRequest {
    pub(crate) at: Nanos,
    pub(crate) generation: u64,
}

/// How a request ended that [was sent](crate::AcceptRatio::send).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// The service answered, and not that it is overloaded.
    Accepted,
    /// The service failed, or gave no answer in the time it had.
    Failed,
    /// The caller went away. The request counts if it is late, and otherwise was never made.
    GivenUp,
    /// It says nothing of the service, and was never made: an error on this side of the connection.
    Void,
}

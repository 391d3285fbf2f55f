use crate::Nanos;

/// A request that was sent and has not ended yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "a request that never ends counts as one that the service did not accept"]
pub struct SentRequest {
    pub(crate) at: Nanos,
    pub(crate) generation: u64,
}

/// The end of a request that [was sent](crate::AcceptRatio::send).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// The service answered, and did not say that it is overloaded.
    Accepted,
    /// The service failed, or gave no answer in its time.
    Failed,
    /// The caller left. The request counts if it is late. Otherwise it counts as never made.
    GivenUp,
    /// The outcome says nothing about the service, and the request counts as never made: an error
    /// on this side of the connection.
    Void,
}
